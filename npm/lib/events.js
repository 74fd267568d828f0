'use strict';

// Node's own: a test may put others in the place of the global ones.
const { setImmediate } = require('timers');

const alive = require('./alive.js');
const { native } = require('./error.js');
const { flushAtExit, forget } = require('./subscription.js');

const END = { value: undefined, done: true };

/**
 * Events of a lane for `for await`. They wait in the native half until they are asked for: it holds so many, then it drops
 * the oldest and says how many.
 */
class Events {
  #native;
  #events = [];
  #next = 0;
  /** Calls of `next` that have no event yet. */
  #waiting = [];
  #ended = false;
  /** The queue ends, so the end of the events is worth waiting for. */
  #ending = false;

  /** `open` makes the native subscription from a function that it calls when there are events to take. */
  constructor(open) {
    const wake = waker(new WeakRef(this));
    this.#native = native(() => open(wake));
  }

  get closed() {
    return this.#ended;
  }

  next() {
    if (this.#waiting.length === 0) {
      const event = this.#take();
      if (event !== undefined) return Promise.resolve({ value: event, done: false });
      if (this.#ended) return Promise.resolve(END);
    }
    const next = new Promise((resolve) => this.#waiting.push(resolve));
    // Somebody waits for what only this can tell.
    flushAtExit(this);
    this.#hold();
    return next;
  }

  /** Ends the iteration, waiting calls of `next` included. */
  async return(value) {
    if (!this.#ended) {
      native(() => this.#native.close());
      this.#end();
    }
    return { value, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  _hold() {
    this.#ending = true;
    this.#hold();
  }

  _flush() {
    // Another turn of the event loop, and with it another look, as long as there is something to tell.
    if (this.#deliver()) setImmediate(() => {});
  }

  _wake() {
    this.#deliver();
  }

  #hold() {
    if (this.#ending && this.#waiting.length > 0) alive.hold(this);
  }

  /** Gives those that wait what there is; returns whether there was something. */
  #deliver() {
    let delivered = false;
    while (this.#waiting.length > 0 && !this.#ended) {
      const event = this.#take();
      if (event === undefined) break;
      this.#waiting.shift()({ value: event, done: false });
      delivered = true;
    }
    if (this.#waiting.length === 0) this.#rest();
    return delivered;
  }

  /** The next event that has happened. */
  #take() {
    if (this.#next === this.#events.length) {
      if (this.#ended) return undefined;
      const { events, ended } = native(() => this.#native.take());
      this.#events = events;
      this.#next = 0;
      if (ended && events.length === 0) this.#end();
      if (events.length === 0) return undefined;
    }
    const { key, payload, timestamp } = this.#events[this.#next++];
    return { key, payload: JSON.parse(payload), timestamp };
  }

  #end() {
    this.#ended = true;
    this.#events = [];
    this.#next = 0;
    for (const resolve of this.#waiting.splice(0)) resolve(END);
    this.#rest();
  }

  /** Nobody waits. */
  #rest() {
    forget(this);
    alive.release(this);
  }
}

/** A function of its own, which keeps neither the lane nor an iterator that nobody reads any more. */
function waker(weak) {
  return () => {
    const events = weak.deref();
    if (events !== undefined) events._wake();
  };
}

module.exports = { Events };
