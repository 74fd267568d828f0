'use strict';

const { NativeLane } = require('../native.js');
const check = require('./check.js');
const { native, settled } = require('./error.js');
const { CommandHandle, answered } = require('./handle.js');
const { parse } = require('./json.js');
const settings = require('./settings.js');
const { Subscription } = require('./subscription.js');

/** How `withLanes` hands its lanes to the constructor, whose public form has the default lanes. */
const CONFIGS = Symbol('configs');

/** How `testing` hands over what a lane of a test does differently. */
const HOOKS = Symbol('hooks');

/** The native half of each `Lane`. */
const natives = new WeakMap();

function nativeOf(lane) {
  const found = natives.get(lane);
  if (found === undefined) throw new TypeError('not a Lane');
  return found;
}

/** Submits a command whose arguments were checked. */
function enqueue(lane, laneId, command) {
  return new CommandHandle(native(() => nativeOf(lane).enqueue(laneId, command)));
}

/** Submits commands whose arguments were checked. */
function enqueueMany(lane, laneId, commands) {
  return native(() => nativeOf(lane).submitMany(laneId, commands)).map(answered);
}

class Lane {
  #subscriptions = new Set();

  constructor(options = {}) {
    const { dlqSize, maxConcurrency, limiters } = settings.laneOptions('options', options);
    const configs = options[CONFIGS];
    const { clock, inline, log } = options[HOOKS] || {};
    const made = native(() => new NativeLane(configs, dlqSize, maxConcurrency, limiters, clock, inline, log));
    natives.set(this, made);
  }

  static withLanes(configs, options = {}) {
    const checked = settings.laneConfigs('configs', configs);
    settings.laneOptions('options', options);
    return new this({ ...options, [CONFIGS]: checked });
  }

  start() {
    native(() => nativeOf(this).start());
  }

  submit(laneId, commandType, payload, options) {
    check.string('laneId', laneId);
    const command = settings.command(commandType, payload, options);
    return native(() => nativeOf(this).submit(laneId, command));
  }

  enqueue(laneId, commandType, payload, options) {
    check.string('laneId', laneId);
    return enqueue(this, laneId, settings.command(commandType, payload, options));
  }

  submitMany(laneId, commands) {
    check.string('laneId', laneId);
    return enqueueMany(this, laneId, settings.commands('commands', commands));
  }

  cancel(id) {
    check.string('id', id);
    return native(() => nativeOf(this).cancel(id));
  }

  cancelLane(laneId) {
    check.string('laneId', laneId);
    return native(() => nativeOf(this).cancelLane(laneId));
  }

  cancelKey(key) {
    check.string('key', key);
    return native(() => nativeOf(this).cancelKey(key));
  }

  pauseLane(laneId) {
    check.string('laneId', laneId);
    native(() => nativeOf(this).pauseLane(laneId, true));
  }

  resumeLane(laneId) {
    check.string('laneId', laneId);
    native(() => nativeOf(this).pauseLane(laneId, false));
  }

  pauseKey(key) {
    check.string('key', key);
    native(() => nativeOf(this).pauseKey(key, true));
  }

  resumeKey(key) {
    check.string('key', key);
    native(() => nativeOf(this).pauseKey(key, false));
  }

  setLane(config) {
    const checked = settings.laneConfig('config', config);
    native(() => nativeOf(this).setLane(checked));
  }

  removeLane(laneId) {
    check.string('laneId', laneId);
    native(() => nativeOf(this).removeLane(laneId));
  }

  setMaxConcurrency(maxConcurrency) {
    if (maxConcurrency !== null) check.number('maxConcurrency', maxConcurrency);
    native(() => nativeOf(this).setMaxConcurrency(maxConcurrency));
  }

  setLimiter(name, limiter) {
    check.string('name', name);
    const checked = settings.limiter('limiter', name, limiter);
    native(() => nativeOf(this).setLimiter(checked));
  }

  explain(id) {
    check.string('id', id);
    return parse(native(() => nativeOf(this).explain(id)));
  }

  snapshot() {
    return parse(native(() => nativeOf(this).snapshot()));
  }

  subscribe(callback) {
    return this.#subscribe(callback, undefined);
  }

  subscribeFiltered(keys, callback) {
    return this.#subscribe(callback, check.strings('keys', keys));
  }

  #subscribe(callback, keys) {
    check.callback('callback', callback);
    const subscription = new Subscription((wake) => nativeOf(this).subscribe(wake, keys), callback);
    for (const known of this.#subscriptions) if (known.closed) this.#subscriptions.delete(known);
    this.#subscriptions.add(subscription);
    return subscription;
  }

  stats() {
    return native(() => nativeOf(this).stats());
  }

  shutdown() {
    native(() => nativeOf(this).shutdown());
    this.#holdSubscriptions();
  }

  async shutdownWithin(timeoutMs) {
    check.number('timeoutMs', timeoutMs);
    const ended = native(() => nativeOf(this).shutdownWithin(timeoutMs));
    this.#holdSubscriptions();
    const report = parse(await settled(ended));
    return { ...report, isClean: report.stopped.length === 0 && report.pending.length === 0 };
  }

  /** From here on the end of the events is in sight: worth waiting for. */
  #holdSubscriptions() {
    for (const subscription of this.#subscriptions) subscription._hold();
  }

  drain(timeoutMs) {
    check.number('timeoutMs', timeoutMs);
    native(() => nativeOf(this).drain(timeoutMs));
  }

  async drainAsync(timeoutMs) {
    check.number('timeoutMs', timeoutMs);
    await settled(native(() => nativeOf(this).drainAsync(timeoutMs)));
  }
}

/** A lane for tests: `configs` are unchecked, `hooks` are checked. */
function steered(configs, options, hooks) {
  const checked = check.optional(settings.laneConfigs, 'configs', configs);
  return new Lane({ ...options, [CONFIGS]: checked, [HOOKS]: hooks });
}

module.exports = { Lane, enqueue, enqueueMany, nativeOf, steered };
