'use strict';

// The native half tells structures as JSON with the names of the core; JavaScript's names are in camel case.

function renamed(value) {
  if (Array.isArray(value)) return value.map(renamed);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(
    entries.map(([key, each]) => [key.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()), renamed(each)]),
  );
}

/** The structure of a text; null when there is none. */
function parse(text) {
  return text === undefined || text === null ? null : renamed(JSON.parse(text));
}

module.exports = { parse };
