'use strict';

// Settings on their way to the native half: types and misspelt fields are checked here, ranges there.

const { types } = require('util');

const { array, boolean, callback, fields, number, optional, record, refuse, string, strings } = require('./check.js');
const { LaneError } = require('./error.js');

/** The largest count: beyond it numbers are not exact. */
const LARGEST = 2 ** 53 - 1;

/** A check of an object with these fields, each with its own check; those of `optionals` may be left out. */
function shape(required, optionals) {
  const names = [...Object.keys(required), ...Object.keys(optionals)];
  return (name, value) => {
    fields(name, value, names);
    const checked = {};
    for (const [field, check] of Object.entries(required)) checked[field] = check(`${name}.${field}`, value[field]);
    for (const [field, check] of Object.entries(optionals)) {
      checked[field] = optional(check, `${name}.${field}`, value[field]);
    }
    return checked;
  };
}

function listOf(check) {
  return (name, value) => array(name, value).map((each, index) => check(`${name}[${index}]`, each));
}

function recordOf(check) {
  return (name, value) => record(check, name, value);
}

const retryPolicy = shape({ maxRetries: number }, { initialDelayMs: number, maxDelayMs: number, multiplier: number });

const rateLimit = shape({ maxCommands: number, windowMs: number }, {});

/** A pair: the time left in milliseconds, and the boost. */
function boostStep(name, value) {
  if (array(name, value).length !== 2) refuse(name, 'a pair of numbers', value);
  return value.map((each, index) => number(`${name}[${index}]`, each));
}

function priorityBoost(name, value) {
  const { deadlineMs, steps } = shape({ deadlineMs: number }, { steps: listOf(boostStep) })(name, value);
  return { deadlineMs, steps: steps || [] };
}

const laneConfig = shape(
  { laneId: string, priority: number },
  {
    minConcurrency: number,
    maxConcurrency: number,
    timeoutSecs: number,
    pressureThreshold: number,
    retryPolicy,
    maxPending: number,
    overflow: string,
    preemptible: boolean,
    graceMs: number,
    progressTimeoutMs: number,
    maxConcurrencyPerKey: number,
    keyWeights: recordOf(number),
    retryJitter: string,
    rateLimit,
    burst: number,
    priorityBoost,
    limiters: strings,
  },
);

const limiterFields = shape(
  { maxCommands: number, windowMs: number },
  { algorithm: string, burst: number, countingCommands: boolean, reserve: number, urgentUpTo: number },
);

/** A limiter with its name, as the native half takes it. */
function limiter(name, limiterName, value) {
  return { name: limiterName, ...limiterFields(name, value) };
}

/** The limiters of a `Lane`, by their names. */
function limiters(name, value) {
  return record((_, each) => each, name, value).map(([key, each]) =>
    limiter(`${name}[${JSON.stringify(key)}]`, key, each),
  );
}

const depthThresholds = shape({}, { warningThreshold: number, criticalThreshold: number });
const latencyThresholds = shape({}, { warningThresholdMs: number, criticalThresholdMs: number });
const alertFields = shape({ callback }, { queueDepth: depthThresholds, latency: latencyThresholds });

/** The thresholds, as the native half takes them, and the callback. */
function alerts(name, value) {
  const { callback: raise, queueDepth = {}, latency = {} } = alertFields(name, value);
  const thresholds = {
    depthWarning: queueDepth.warningThreshold,
    depthCritical: queueDepth.criticalThreshold,
    latencyWarningMs: latency.warningThresholdMs,
    latencyCriticalMs: latency.criticalThresholdMs,
  };
  return { thresholds, callback: raise };
}

const retention = shape({}, { maxAgeMs: number, maxCount: number });

/** What is about the storage; the native half takes it as one object. */
const STORAGE = {
  storage: string,
  durability: string,
  maxCrashes: number,
  results: retention,
  history: retention,
  maxDeadLetters: number,
};
const OPTIONS = { dlqSize: number, maxConcurrency: number, limiters, metrics: boolean, alerts, ...STORAGE };
const allOptions = shape({}, OPTIONS);

function laneOptions(name, value) {
  const { storage: directory, durability, maxCrashes, results, history, maxDeadLetters, ...totals } = allOptions(name, value);
  const storage = { directory, durability, maxCrashes, results, history, maxDeadLetters };
  if (Object.values(storage).some((each) => each !== undefined)) totals.storage = storage;
  return totals;
}

const letterFields = shape(
  {},
  { ids: strings, laneId: string, commandType: string, code: string, since: date, until: date, limit: number },
);

/** A time as the core reads it. */
function time(name, millis) {
  if (millis === undefined) return undefined;
  if (Number.isNaN(millis)) throw new LaneError(`${name} must be a valid Date (got an invalid one)`, 'INVALID_ARGUMENT');
  return new Date(millis).toISOString();
}

function count(name, value) {
  if (value === undefined || (Number.isInteger(value) && value >= 0 && value <= LARGEST)) return value;
  throw new LaneError(`${name} must be an integer from 0 to ${LARGEST} (got ${value})`, 'INVALID_ARGUMENT');
}

/** Which dead letters are meant, as JSON text for the core. */
function letterFilter(name, value) {
  const { ids, laneId, commandType, code, since, until, limit } = optional(letterFields, name, value) || {};
  return JSON.stringify({
    ids,
    lane_id: laneId,
    command_type: commandType,
    code,
    since: time(`${name}.since`, since),
    until: time(`${name}.until`, until),
    // To the core no ids are all; a list that came out empty must not mean that.
    limit: ids !== undefined && ids.length === 0 ? 0 : count(`${name}.limit`, limit),
  });
}

const historyFields = shape({}, { commandId: string, laneId: string, since: date, after: number, limit: number });

/** Which entries of the history are meant, as JSON text for the core. */
function historyFilter(name, value) {
  const { commandId, laneId, since, after, limit } = optional(historyFields, name, value) || {};
  return JSON.stringify({
    command_id: commandId,
    lane_id: laneId,
    since: time(`${name}.since`, since),
    after: count(`${name}.after`, after),
    limit: count(`${name}.limit`, limit),
  });
}

function date(name, value) {
  return types.isDate(value) ? value.getTime() : refuse(name, 'a Date', value);
}

const uniqueFields = shape({ key: string }, { windowMs: number, onConflict: string });

function unique(name, value) {
  return typeof value === 'string' ? { key: value } : uniqueFields(name, value);
}

/** JSON text of an object; a value that JSON would drop is refused. */
function metadata(name, value) {
  const json = (field, each) => (JSON.stringify(each) === undefined ? refuse(field, 'a JSON value', each) : each);
  return JSON.stringify(Object.fromEntries(record(json, name, value)));
}

const optionFields = shape(
  {},
  {
    id: string,
    priority: number,
    delayMs: number,
    runAt: date,
    ttlMs: number,
    timeoutMs: number,
    noTimeout: boolean,
    progressTimeoutMs: number,
    retryPolicy,
    jitter: string,
    key: string,
    unique,
    cost: number,
    metadata,
    preemptible: boolean,
  },
);

function submitOptions(name, value) {
  const { runAt, ...options } = optionFields(name, value);
  return { ...options, runAtMs: runAt };
}

/** A command without options, as the native half takes it. */
function command(commandType, payload, options) {
  return {
    commandType: string('commandType', commandType),
    payload: optional(string, 'payload (JSON text)', payload),
    options: optional(submitOptions, 'options', options),
  };
}

/** What `events` is asked for. */
const eventOptions = shape({}, { keys: strings });

/** The options of a command that is submitted, or `undefined`. */
function submission(laneId, commandType, options) {
  string('laneId', laneId);
  string('commandType', commandType);
  return optional(submitOptions, 'options', options);
}

const textEntry = shape({ commandType: string }, { payload: string, options: submitOptions });
const entry = shape({ commandType: string }, { payload: (_, payload) => payload, options: submitOptions });

/** Has nothing but what every command has. */
function isPlain(each) {
  for (const field in each) if (field !== 'commandType' && field !== 'payload') return false;
  return true;
}

/** The commands of `submitMany`. Those that a handler runs have any payload, others have text. */
function commands(name, value, isHandled) {
  return array(name, value).map((each, index) => {
    const handled = typeof each === 'object' && each !== null && isHandled(each.commandType);
    // Most have no options, and there may be very many.
    if (handled && isPlain(each)) return { commandType: each.commandType, payload: each.payload, options: undefined, handled };
    const { commandType, payload, options } = (handled ? entry : textEntry)(`${name}[${index}]`, each);
    return { commandType, payload, options, handled };
  });
}

module.exports = {
  command,
  commands,
  eventOptions,
  historyFilter,
  laneConfig,
  laneConfigs: listOf(laneConfig),
  laneOptions,
  laneOptionNames: Object.keys(OPTIONS),
  letterFilter,
  limiter,
  submission,
  submitOptions,
};
