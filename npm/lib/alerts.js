'use strict';

// Node's own: a test may put others in the place of the global ones.
const { setImmediate } = require('timers');

const { native } = require('./error.js');
const { flushAtExit, forget } = require('./subscription.js');

/** The alerts of a native lane, which live as long as it does. */
const known = new WeakMap();

const gone = new FinalizationRegistry(forget);

/** Has `callback` called with each alert of the native lane `own`. */
function alertsTo(own, callback) {
  const alerts = new Alerts((wake) => own.alerts(wake), callback);
  known.set(own, alerts);
}

/** Alerts of a lane on their way to a callback. */
class Alerts {
  #native;
  #callback;
  #alerts = [];

  /** `open` makes the native half from a function that it calls when there are alerts to take. */
  constructor(open, callback) {
    this.#callback = callback;
    const weak = weakly(new WeakRef(this));
    this.#native = native(() => open(weak._flush));
    flushAtExit(weak);
    gone.register(this, weak);
  }

  /** Delivers what there is. */
  deliver() {
    this.#alerts.push(...native(() => this.#native.take()));
    let next = 0;
    try {
      while (next < this.#alerts.length) this.#callback.call(undefined, this.#alerts[next++]);
    } finally {
      // An exception in the callback is the caller's uncaught exception; if the process survives it, the rest follows.
      this.#alerts.splice(0, next);
      if (this.#alerts.length > 0) setImmediate(() => this.deliver());
    }
  }
}

/** What others may keep: neither the lane nor its callback. */
function weakly(weak) {
  return {
    _flush() {
      const alerts = weak.deref();
      if (alerts !== undefined) alerts.deliver();
    },
  };
}

module.exports = { alertsTo };
