'use strict';

const check = require('./check.js');
const { LaneError, settled } = require('./error.js');
const kept = require('./kept.js');
const settings = require('./settings.js');

/** Commands that failed for good. */
class DeadLetters {
  /** Calls the native half of the lane. */
  #ask;
  /** Makes a handle of a native answer, or throws its error. */
  #handle;

  constructor(ask, handle) {
    this.#ask = ask;
    this.#handle = handle;
  }

  async list(filter) {
    const checked = settings.letterFilter('filter', filter);
    return JSON.parse(await settled(this.#ask((lane) => lane.listLetters(checked)))).map(letter);
  }

  async retry(commandId, options) {
    check.string('commandId', commandId);
    const given = check.optional((name, value) => check.fields(name, value, ['payload']), 'options', options) || {};
    const payload = 'payload' in given ? kept.text(given.payload) : undefined;
    return this.#handle(await this.#ask((lane) => lane.retryLetter(commandId, payload)));
  }

  async retryAll(filter) {
    const checked = settings.letterFilter('filter', filter);
    const { ids, answers, code, message } = await this.#ask((lane) => lane.retryLetters(checked));
    if (code !== undefined) throw new LaneError(message, code);
    return ids.map((commandId, index) => {
      const { handle, ...refusal } = answers[index];
      if (handle === undefined) return { id: commandId, error: new LaneError(refusal.message, refusal.code) };
      return { id: commandId, handle: this.#handle({ handle }) };
    });
  }

  async discard(filter) {
    const checked = settings.letterFilter('filter', filter);
    return Number(await settled(this.#ask((lane) => lane.discardLetters(checked))));
  }

  async export(filter) {
    const checked = settings.letterFilter('filter', filter);
    return settled(this.#ask((lane) => lane.exportLetters(checked)));
  }

  async import(lines) {
    check.string('lines', lines);
    return Number(await settled(this.#ask((lane) => lane.importLetters(lines))));
  }
}

/** What is absent is left out: a payload may be null. */
function present(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null));
}

function letter(record) {
  const made = {
    commandId: record.command_id,
    commandType: record.command_type,
    laneId: record.lane_id,
    options: options(record.options),
    error: record.error,
    code: record.code,
    ...present({ traceback: record.traceback }),
    attempts: record.attempts,
    failures: (record.failures || []).map(failure),
    failedAt: record.failed_at,
  };
  // Not what `present` would do: null is a payload.
  return 'payload' in record ? { ...made, payload: record.payload } : made;
}

function failure({ attempt, error, code, traceback, started_at: startedAt, failed_at: failedAt }) {
  return { attempt, error, code, ...present({ traceback, startedAt }), failedAt };
}

/** What the submission of a command asked for, in the words of `SubmitOptions`. */
function options(stored) {
  const { timeout, retry_policy: retry, unique } = stored;
  return present({
    priority: stored.priority,
    key: stored.key,
    expiresAt: stored.expires_at,
    timeoutMs: millis(timeout),
    noTimeout: timeout === null ? true : undefined,
    progressTimeoutMs: millis(stored.progress_timeout),
    retryPolicy: retry && {
      maxRetries: retry.max_retries,
      initialDelayMs: millis(retry.initial_delay),
      maxDelayMs: millis(retry.max_delay),
      multiplier: retry.multiplier,
    },
    jitter: stored.jitter,
    cost: stored.cost,
    preemptible: stored.preemptible,
    metadata: stored.metadata,
    unique: unique && present({ key: unique.key, onConflict: unique.on_conflict, until: unique.until }),
  });
}

function millis(duration) {
  return duration === undefined || duration === null ? undefined : duration.secs * 1e3 + duration.nanos / 1e6;
}

module.exports = { DeadLetters };
