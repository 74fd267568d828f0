'use strict';

// The settings of scenarios in the words of this package.

const assert = require('node:assert/strict');

/** The fields of `value`, which must be among `known`. A null counts as absent. */
function only(what, value, ...known) {
  for (const key of Object.keys(value)) assert.ok(known.includes(key), `${what} has the unknown field '${key}'`);
  return value;
}

function given(convert, value) {
  return value === undefined || value === null ? undefined : convert(value);
}

function retryOf(retry) {
  only('retry', retry, 'max_retries', 'initial_delay_ms', 'max_delay_ms', 'multiplier');
  return {
    maxRetries: retry.max_retries,
    initialDelayMs: retry.initial_delay_ms,
    maxDelayMs: retry.max_delay_ms,
    multiplier: retry.multiplier,
  };
}

function rateOf(rate) {
  only('rate_limit', rate, 'max_commands', 'window_ms');
  return { maxCommands: rate.max_commands, windowMs: rate.window_ms };
}

function boostOf(boost) {
  only('boost', boost, 'deadline_ms', 'steps');
  return { deadlineMs: boost.deadline_ms, steps: boost.steps };
}

const LANE = [
  ...['id', 'priority', 'min', 'max', 'timeout_ms', 'retry', 'pressure_threshold', 'max_pending', 'overflow'],
  ...['preemptible', 'grace_ms', 'progress_timeout_ms', 'max_concurrency_per_key', 'key_weights', 'retry_jitter'],
  ...['rate_limit', 'burst', 'limiters', 'boost'],
];

function configOf(lane) {
  only('lane', lane, ...LANE);
  return {
    laneId: lane.id,
    priority: lane.priority,
    minConcurrency: lane.min,
    maxConcurrency: lane.max,
    timeoutSecs: given((ms) => ms / 1000, lane.timeout_ms),
    retryPolicy: given(retryOf, lane.retry),
    pressureThreshold: lane.pressure_threshold,
    maxPending: lane.max_pending,
    overflow: lane.overflow,
    preemptible: lane.preemptible,
    graceMs: lane.grace_ms,
    progressTimeoutMs: lane.progress_timeout_ms,
    maxConcurrencyPerKey: lane.max_concurrency_per_key,
    keyWeights: lane.key_weights,
    retryJitter: lane.retry_jitter,
    rateLimit: given(rateOf, lane.rate_limit),
    burst: lane.burst,
    priorityBoost: given(boostOf, lane.boost),
    limiters: lane.limiters,
  };
}

function limiterOf(limiter) {
  only('limiter', limiter, 'max_commands', 'window_ms', 'algorithm', 'burst', 'counting_commands', 'reserve');
  const { amount, urgent_up_to: urgentUpTo } = given((it) => only('reserve', it, 'amount', 'urgent_up_to'), limiter.reserve) || {};
  return {
    ...rateOf({ max_commands: limiter.max_commands, window_ms: limiter.window_ms }),
    algorithm: limiter.algorithm,
    burst: limiter.burst,
    countingCommands: limiter.counting_commands,
    reserve: amount,
    urgentUpTo,
  };
}

function limitersOf(limiters) {
  return Object.fromEntries(Object.entries(limiters).map(([name, limiter]) => [name, limiterOf(limiter)]));
}

const OPTIONS = [
  ...['id', 'priority', 'delay_ms', 'run_at', 'ttl_ms', 'timeout_ms', 'no_timeout', 'progress_timeout_ms', 'retry', 'jitter'],
  ...['key', 'unique', 'cost', 'metadata', 'preemptible'],
];

function uniqueOf(unique) {
  only('unique', unique, 'key', 'window_ms', 'on_conflict');
  return { key: unique.key, windowMs: unique.window_ms, onConflict: unique.on_conflict };
}

function optionsOf(options) {
  only('options', options, ...OPTIONS);
  return {
    id: options.id,
    priority: options.priority,
    delayMs: options.delay_ms,
    runAt: given((text) => new Date(text), options.run_at),
    ttlMs: options.ttl_ms,
    timeoutMs: options.timeout_ms,
    noTimeout: options.no_timeout,
    progressTimeoutMs: options.progress_timeout_ms,
    retryPolicy: given(retryOf, options.retry),
    jitter: options.jitter,
    key: options.key,
    unique: given(uniqueOf, options.unique),
    cost: options.cost,
    metadata: options.metadata,
    preemptible: options.preemptible,
  };
}

module.exports = { configOf, given, limiterOf, limitersOf, only, optionsOf };
