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
  #slot;
  /** Whoever holds a handle keeps what runs its command. */
  #bridge;

  /** `slot` is where the result of a command is that a handler runs; the result of others is JSON text. */
  constructor(handle, bridge, slot) {
    this.#native = handle;
    this.#bridge = bridge;
    this.#slot = slot;
  }

  get id() {
    return this.#ask((handle) => handle.id());
  }

  get laneId() {
    return this.#ask((handle) => handle.laneId());
  }

  get status() {
    return this.#ask((handle) => handle.status());
  }

  async result() {
    return this.#slot === undefined ? settled(this.#ask((handle) => handle.result())) : this.#slot.result();
  }

  /** Makes `await handle` the same as `await handle.result()`. */
  then(fulfilled, rejected) {
    return this.result().then(fulfilled, rejected);
  }

  cancel() {
    return this.#ask((handle) => handle.cancel());
  }

  explain() {
    return parse(this.#ask((handle) => handle.explain()));
  }

  progress() {
    const read = this.#slot === undefined ? (text) => text : JSON.parse;
    return new Reports(this.#ask((handle) => handle.progress()), read);
  }

  chunks() {
    return new Reports(this.#ask((handle) => handle.chunks()), JSON.parse);
  }

  /** The partial results alone, as values. */
  [Symbol.asyncIterator]() {
    return new Reports(this.#ask((handle) => handle.chunks()), (text) => JSON.parse(JSON.parse(text).value));
  }

  /** Asks the native half, which learns first of what was submitted before. */
  #ask(work) {
    if (this.#bridge !== undefined) this.#bridge.push();
    return native(() => work(this.#native));
  }

  [inspect.custom](depth, options) {
    const { id, laneId, status } = this;
    return `CommandHandle ${inspect({ id, laneId, status }, options)}`;
  }
}

/** What became of one of many commands. */
function answered({ handle, code, message }, bridge, slot) {
  return code === undefined ? new CommandHandle(handle, bridge, slot) : new LaneError(message, code);
}

module.exports = { CommandHandle, answered };
