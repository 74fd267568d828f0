'use strict';

// Types are checked here, ranges in the native half: a value of the wrong type is a TypeError that names the argument
// or field, and nothing is converted silently.

function kind(value) {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : typeof value;
}

function refuse(name, expected, value) {
  const error = new TypeError(`${name} must be ${expected} (got ${kind(value)})`);
  error.code = 'ERR_INVALID_ARG_TYPE';
  throw error;
}

function string(name, value) {
  return typeof value === 'string' ? value : refuse(name, 'a string', value);
}

function number(name, value) {
  return typeof value === 'number' ? value : refuse(name, 'a number', value);
}

function boolean(name, value) {
  return typeof value === 'boolean' ? value : refuse(name, 'a boolean', value);
}

function callback(name, value) {
  return typeof value === 'function' ? value : refuse(name, 'a function', value);
}

function array(name, value) {
  return Array.isArray(value) ? value : refuse(name, 'an array', value);
}

/** `undefined` and `null` both mean "left out". */
function optional(check, name, value) {
  return value === undefined || value === null ? undefined : check(name, value);
}

/** An object with no other fields than `known`: a misspelt option must not be ignored. */
function fields(name, value, known) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(name, 'an object', value);
  const stranger = Object.keys(value).find((key) => !known.includes(key));
  if (stranger !== undefined) {
    const error = new TypeError(`${name} has no field '${stranger}'; its fields are ${known.join(', ')}`);
    error.code = 'ERR_INVALID_ARG_VALUE';
    throw error;
  }
  return value;
}

/** An object whose keys are names, as `[name, checked value]` pairs. A `Map` or another object with a class is not one. */
function record(check, name, value) {
  const plain = (object) => {
    const prototype = Object.getPrototypeOf(object);
    // The second step also accepts plain objects of another realm.
    return prototype === null || Object.getPrototypeOf(prototype) === null;
  };
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !plain(value)) {
    refuse(name, 'a plain object', value);
  }
  return Object.entries(value).map(([key, each]) => [key, check(`${name}[${JSON.stringify(key)}]`, each)]);
}

function strings(name, value) {
  return array(name, value).map((each, index) => string(`${name}[${index}]`, each));
}

module.exports = { array, boolean, callback, fields, number, optional, record, refuse, string, strings };
