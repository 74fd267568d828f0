'use strict';

const { inspect } = require('util');

const { LaneError, native, settled } = require('./error.js');
const { parse } = require('./json.js');

const END = { value: undefined, done: true };

/** What a command reports, until it has settled. */
class Reports {
  #native;
  #read;
  /** Settles with the last call of `next`: reports are handed out in the order of the calls. */
  #last = Promise.resolve();

  constructor(reports, read) {
    this.#native = reports;
    this.#read = read;
  }

  next() {
    const next = this.#last.then(() => this.#next());
    this.#last = next.catch(() => {});
    return next;
  }

  async #next() {
    const text = await settled(native(() => this.#native.next()));
    return text === undefined ? END : { value: this.#read(text), done: false };
  }

  /** Ends the iteration, a waiting `next` included. The command goes on. */
  async return(value) {
    native(() => this.#native.close());
    return { value, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

/** One submitted command. */
class CommandHandle {
  #native;

  constructor(handle) {
    this.#native = handle;
  }

  get id() {
    return native(() => this.#native.id());
  }

  get laneId() {
    return native(() => this.#native.laneId());
  }

  get status() {
    return native(() => this.#native.status());
  }

  async result() {
    return settled(native(() => this.#native.result()));
  }

  /** Makes `await handle` the same as `await handle.result()`. */
  then(fulfilled, rejected) {
    return this.result().then(fulfilled, rejected);
  }

  cancel() {
    return native(() => this.#native.cancel());
  }

  explain() {
    return parse(native(() => this.#native.explain()));
  }

  progress() {
    return new Reports(native(() => this.#native.progress()), (text) => text);
  }

  chunks() {
    return new Reports(native(() => this.#native.chunks()), JSON.parse);
  }

  [inspect.custom](depth, options) {
    const { id, laneId, status } = this;
    return `CommandHandle ${inspect({ id, laneId, status }, options)}`;
  }
}

/** What became of one of many commands. */
function answered({ handle, code, message }) {
  return code === undefined ? new CommandHandle(handle) : new LaneError(message, code);
}

module.exports = { CommandHandle, answered };
