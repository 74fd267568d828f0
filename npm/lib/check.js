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

const RETRY = ['maxRetries', 'initialDelayMs', 'maxDelayMs', 'multiplier'];

function retryPolicy(name, value) {
  const { maxRetries, initialDelayMs, maxDelayMs, multiplier } = fields(name, value, RETRY);
  return {
    maxRetries: number(`${name}.maxRetries`, maxRetries),
    initialDelayMs: optional(number, `${name}.initialDelayMs`, initialDelayMs),
    maxDelayMs: optional(number, `${name}.maxDelayMs`, maxDelayMs),
    multiplier: optional(number, `${name}.multiplier`, multiplier),
  };
}

const LANE = [
  'laneId',
  'priority',
  'minConcurrency',
  'maxConcurrency',
  'timeoutSecs',
  'pressureThreshold',
  'retryPolicy',
];

function laneConfig(name, value) {
  const config = fields(name, value, LANE);
  const { laneId, priority, minConcurrency, maxConcurrency, timeoutSecs, pressureThreshold } = config;
  return {
    laneId: string(`${name}.laneId`, laneId),
    priority: number(`${name}.priority`, priority),
    minConcurrency: optional(number, `${name}.minConcurrency`, minConcurrency),
    maxConcurrency: optional(number, `${name}.maxConcurrency`, maxConcurrency),
    timeoutSecs: optional(number, `${name}.timeoutSecs`, timeoutSecs),
    pressureThreshold: optional(number, `${name}.pressureThreshold`, pressureThreshold),
    retryPolicy: optional(retryPolicy, `${name}.retryPolicy`, config.retryPolicy),
  };
}

function laneConfigs(name, value) {
  return array(name, value).map((config, index) => laneConfig(`${name}[${index}]`, config));
}

function laneOptions(name, value) {
  const { dlqSize } = fields(name, value, ['dlqSize']);
  return { dlqSize: optional(number, `${name}.dlqSize`, dlqSize) };
}

function keys(name, value) {
  return array(name, value).map((key, index) => string(`${name}[${index}]`, key));
}

module.exports = { callback, keys, laneConfigs, laneOptions, number, optional, string };
