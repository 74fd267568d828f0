'use strict';

const { inspect } = require('util');

const { LaneError, native, settled } = require('./error.js');
const { parse } = require('./json.js');

const END = { value: undefined, done: true };

/** What a command reports, until it has settled. */
class Reports {
  #native;
  #read;
  #bridge;
  /** Settles with the last call of `next`: reports are handed out in the order of the calls. */
  #last = Promise.resolve();

  /** With a bridge, reports come in its batches. */
  constructor(reports, read, bridge) {
    this.#native = reports;
    this.#read = read;
    this.#bridge = bridge;
  }

  next() {
    const next = this.#last.then(() => this.#next());
    this.#last = next.catch(() => {});
    return next;
  }

  async #next() {
    const text = await (this.#bridge === undefined
      ? settled(native(() => this.#native.next()))
      : this.#bridge.report(this.#native));
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

/** As in bindings/node/src/batch.rs. */
const STATUSES = ['failed', 'timed_out', 'cancelled', 'expired', 'completed'];

/** The reports of a command that has settled without any. */
function noReports() {
  return new Reports({ next: async () => ({}), close() {} });
}

/** One submitted command, as a promise can resolve to it: with `then`, one would resolve to the command's result instead. */
class BareHandle {
  #native;
  #slot;
  /** Whoever holds a handle keeps what runs its command. */
  #bridge;
  /** The id, or a number that stands for it. */
  #id;
  #status = 'completed';
  /** The result is handed out as JSON text. */
  #isText;

  /**
   * `bridge` may be a function that tells which one there is, if any yet.
   *
   * `slot` is where the result of a command is that a handler runs; the result of others is JSON text. Such a command may have
   * a number instead of a native handle, which costs far more: it is made when somebody asks for what only it knows.
   */
  constructor(handle, bridge, slot, serial, isText = slot === undefined) {
    this.#native = handle;
    this.#isText = isText;
    this.#bridge = bridge;
    this.#slot = slot;
    this.#id = serial;
  }

  get id() {
    if (this.#id === undefined) return this.#ask((handle) => handle.id());
    if (typeof this.#id === 'number') this.#id = this.#bridge.idOf(this.#id);
    return this.#id;
  }

  get laneId() {
    return this.#id === undefined ? this.#ask((handle) => handle.laneId()) : this.#slot.kind.laneId;
  }

  get status() {
    return this.#ask((handle) => handle.status(), () => this.#status);
  }

  result() {
    return this.#slot === undefined ? this.#text() : this.#slot.result();
  }

  async #text() {
    const text = await settled(this.#ask((handle) => handle.result()));
    return this.#isText ? text : JSON.parse(text);
  }

  async accepted() {
    const accepted = this.#ask((handle) => handle.accepted(), () => undefined);
    if (accepted !== undefined) await settled(accepted);
  }

  cancel() {
    return this.#ask((handle) => handle.cancel(), () => false);
  }

  explain() {
    return parse(this.#ask((handle) => handle.explain(), () => null));
  }

  progress() {
    const read = this.#isText ? (text) => text : JSON.parse;
    return this.#reports((handle) => handle.progress(), read);
  }

  chunks() {
    return this.#reports((handle) => handle.chunks(), JSON.parse);
  }

  /** The partial results alone, as values. */
  [Symbol.asyncIterator]() {
    return this.#reports((handle) => handle.chunks(), (text) => JSON.parse(JSON.parse(text).value));
  }

  get #home() {
    return typeof this.#bridge === 'function' ? this.#bridge() : this.#bridge;
  }

  #reports(open, read) {
    return this.#ask((handle) => new Reports(open(handle), read, this.#home), noReports);
  }

  /** Makes the native handle, unless the command has settled. */
  _keep() {
    if (this.#native === undefined && !this.#slot.isSettled) this.#native = this.#bridge.handleOf(this.#slot);
  }

  /** `status` is a number of the native half. */
  _settled(status) {
    this.#status = STATUSES[status];
  }

  /** Asks the native half, which learns first of what was submitted before; `otherwise` when it has forgotten the command. */
  #ask(work, otherwise) {
    const bridge = this.#home;
    if (bridge !== undefined) {
      bridge.push();
      // It may settle a command, and the process may be about to end.
      bridge.schedule();
    }
    this._keep();
    return this.#native === undefined ? otherwise() : native(() => work(this.#native));
  }

  [inspect.custom](depth, options) {
    const { id, laneId, status } = this;
    return `${this.constructor.name} ${inspect({ id, laneId, status }, options)}`;
  }
}

/** One submitted command. */
class CommandHandle extends BareHandle {
  /** Makes `await handle` the same as `await handle.result()`. */
  then(fulfilled, rejected) {
    return this.result().then(fulfilled, rejected);
  }
}

/** What became of one of many commands. */
function answered({ handle, code, message }, bridge, slot) {
  return code === undefined ? new CommandHandle(handle, bridge, slot) : new LaneError(message, code);
}

module.exports = { BareHandle, CommandHandle, answered };
