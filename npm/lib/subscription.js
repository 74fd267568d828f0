'use strict';

// Node's own: a test may put others in the place of the global ones.
const { setImmediate } = require('timers');

const { LaneError, native } = require('./error.js');

/** Subscriptions that may still deliver. */
const live = new Set();
let flushesAtExit = false;

/** Has `subscription` flushed when the process is about to end. */
function flushAtExit(subscription) {
  live.add(subscription);
  if (!flushesAtExit) {
    flushesAtExit = true;
    process.on('beforeExit', flush);
  }
}

function forget(subscription) {
  live.delete(subscription);
}

/**
 * The event loop has nothing left to do. A live subscription alone does not keep the process alive, but what already
 * happened is still told.
 */
function flush() {
  for (const subscription of live) subscription._flush();
}

/** Events of a lane on their way to a callback. */
class Subscription {
  #native;
  #callback;
  #events = [];
  #ended = false;
  #closed = false;
  #held = false;

  /** `open` makes the native subscription from a function that it calls when there are events to take. */
  constructor(open, callback) {
    this.#callback = callback;
    const wake = this.#wake();
    this.#native = native(() => open(wake));
    flushAtExit(this);
  }

  /** Whether no further call of the callback will come. */
  get closed() {
    return this.#closed;
  }

  /** Stops the calls of the callback, also for events that already happened. */
  close() {
    if (this.#closed) return;
    this.#finish();
    native(() => this.#native.close());
  }

  /** Keeps the process alive until the last event is delivered. */
  _hold() {
    if (this.#held || this.#closed) return;
    this.#held = true;
    native(() => this.#native.ended());
  }

  _flush() {
    // Another turn of the event loop, and with it another look, as long as there is something to tell.
    if (this.#take()) setImmediate(() => {});
  }

  /** A function of its own: one that shared a scope with `open` would keep the lane from being collected. */
  #wake() {
    return () => this.#take();
  }

  /** Delivers the next batch; returns whether there was one. */
  #take() {
    if (this.#closed) return false;
    let batch;
    try {
      batch = native(() => this.#native.take());
    } catch (error) {
      this.#finish();
      if (!(error instanceof LaneError)) throw error;
      this.#callback.call(undefined, error);
      return true;
    }
    this.#ended = batch.ended;
    this.#events.push(...batch.events);
    this.#deliver();
    return batch.events.length > 0;
  }

  #deliver() {
    let next = 0;
    try {
      while (next < this.#events.length && !this.#closed) this.#callback.call(undefined, null, this.#events[next++]);
    } finally {
      // An exception in the callback is the caller's uncaught exception; if the process survives it, the rest follows.
      this.#events.splice(0, next);
      if (this.#events.length > 0 && !this.#closed) setImmediate(() => this.#deliver());
      else if (this.#ended) this.#finish();
    }
  }

  #finish() {
    this.#closed = true;
    this.#events.length = 0;
    forget(this);
  }
}

module.exports = { Subscription, flushAtExit, forget };
