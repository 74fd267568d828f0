'use strict';

const { NativeLane } = require('../native.js');
const check = require('./check.js');
const { native, settled } = require('./error.js');
const { Subscription } = require('./subscription.js');

/** How `withLanes` hands its lanes to the constructor, whose public form has the default lanes. */
const CONFIGS = Symbol('configs');

/** The native half of each `Lane`. */
const natives = new WeakMap();

function nativeOf(lane) {
  const found = natives.get(lane);
  if (found === undefined) throw new TypeError('not a Lane');
  return found;
}

class Lane {
  #subscriptions = new Set();

  constructor(options = {}) {
    const { dlqSize } = check.laneOptions('options', options);
    const configs = options[CONFIGS];
    natives.set(this, native(() => new NativeLane(configs, dlqSize)));
  }

  static withLanes(configs, options = {}) {
    const checked = check.laneConfigs('configs', configs);
    return new this({ ...check.laneOptions('options', options), [CONFIGS]: checked });
  }

  start() {
    native(() => nativeOf(this).start());
  }

  submit(laneId, commandType, payload) {
    check.string('laneId', laneId);
    check.string('commandType', commandType);
    const text = check.optional(check.string, 'payload (JSON text)', payload);
    return native(() => nativeOf(this).submit(laneId, commandType, text));
  }

  subscribe(callback) {
    return this.#subscribe(callback, undefined);
  }

  subscribeFiltered(keys, callback) {
    return this.#subscribe(callback, check.keys('keys', keys));
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
    // From here on the end of the events is in sight: worth waiting for.
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

module.exports = { Lane, nativeOf };
