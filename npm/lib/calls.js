'use strict';

// Handlers, and their calls that run in this thread.

const { Call, CommandContext, json } = require('./context.js');
const { codeOf, messageOf, native, stackOf } = require('./error.js');
const kept = require('./kept.js');
const { around } = require('./middleware.js');
const { Failure, Slot } = require('./slot.js');
const { discard } = require('./workers.js');

const { then } = Promise.prototype;

/** How many of what is used again are kept. */
const SPARE = 1024;

class Calls {
  #bridge;
  #native;
  #handlers = new Map();
  #middleware = [];
  /** What runs, by its place. */
  #calls = [];
  #running = 0;
  /** What waits for the promise of a handler, to be used again. */
  #spare = [];

  constructor(bridge, lane) {
    this.#bridge = bridge;
    this.#native = lane;
  }

  get running() {
    return this.#running;
  }

  handle(commandType, handler) {
    const before = this.#handlers.get(commandType);
    if (before === undefined) native(() => this.#native.setHandled(commandType, true));
    else discard(before);
    this.#handlers.set(commandType, handler);
  }

  removeHandler(commandType) {
    const before = this.#handlers.get(commandType);
    if (before === undefined) return false;
    this.#handlers.delete(commandType);
    native(() => this.#native.setHandled(commandType, false));
    discard(before);
    return true;
  }

  use(middleware) {
    this.#middleware = [...this.#middleware, middleware];
  }

  handles(commandType) {
    return this.#handlers.has(commandType);
  }

  /** Begins the call of a command that came as text, before its type had a handler: its result leaves as text too. */
  beginText(place, run, attempt, commandType, payload) {
    const kind = { bridge: this.#bridge, laneId: undefined, commandType, number: -1 };
    // Nobody here has submitted it: not in the context of whoever else's call brought it.
    const slot = this.#bridge.root.runInAsyncScope(() => new Slot(kind, -1, JSON.parse(payload)));
    this.begin(place, run, attempt, slot);
    slot.emitDestroy();
  }

  begin(place, run, attempt, slot) {
    let handler = this.#handlers.get(slot.kind.commandType);
    const call = new Call(this.#bridge, place, run, attempt, slot);
    slot.value = call;
    this.#calls[place] = call;
    this.#running += 1;
    if (handler === undefined) return this.#echo(call);
    this.#bridge.hold();
    if (this.#middleware.length > 0) handler = around(this.#middleware, handler);
    let result;
    try {
      result = slot.runInAsyncScope(handler, undefined, slot.payload, new CommandContext(call));
      if (result !== null && (typeof result === 'object' || typeof result === 'function')) return this.#await(call, result);
    } catch (error) {
      return this.#failed(call, error);
    }
    this.#finished(call, result);
  }

  /** Goes on when the promise of a handler has settled. */
  #await(call, result) {
    const waiter = this.#spare.length > 0 ? this.#spare.pop() : this.#waiter();
    waiter.call = call;
    // Not by a `then` of its own, which could call them as often as it likes.
    then.call(Promise.resolve(result), waiter.fulfilled, waiter.rejected);
  }

  /** One of two functions is called, and once: then the pair can be used again, which costs less than two for each call. */
  #waiter() {
    const end = () => {
      const { call } = waiter;
      waiter.call = undefined;
      if (this.#spare.length < SPARE) this.#spare.push(waiter);
      return call;
    };
    const waiter = {
      call: undefined,
      fulfilled: (value) => this.#finished(end(), value),
      rejected: (error) => this.#failed(end(), error),
    };
    return waiter;
  }

  /** The handler was removed after the attempt had begun. */
  #echo(call) {
    if (call.slot.isJson) return this.#finished(call, call.slot.payload);
    if (this.#end(call)) this.#bridge.echo(call);
  }

  #finished(call, value) {
    if (call.slot.isJson) return this.#finishedText(call, value);
    if (!this.#end(call)) return;
    call.ended = value;
    this.#bridge.finish(call);
  }

  #finishedText(call, value) {
    if (!this.#end(call)) return;
    this.#bridge.schedule();
    try {
      const text = json(value);
      native(() => this.#native.finishJson(call.place, call.run, text));
    } catch (error) {
      this.#fail(call, error);
    }
  }

  #failed(call, thrown) {
    if (this.#end(call)) this.#fail(call, thrown);
  }

  #fail(call, thrown) {
    this.#bridge.schedule();
    const stack = this.#bridge.keeps === kept.NOTHING ? undefined : stackOf(thrown);
    const failure = native(() => this.#native.fail(call.place, call.run, codeOf(thrown), messageOf(thrown), stack));
    call.ended = new Failure(failure, thrown);
  }

  /** False when the attempt was over before: nobody wants its result any more. */
  #end(call) {
    if (call.over) return false;
    call.over = true;
    this.#calls[call.place] = undefined;
    this.#running -= 1;
    return true;
  }

  /** The call that runs under these numbers. */
  #call(place, run) {
    const call = this.#calls[place];
    return call !== undefined && call.run === run ? call : undefined;
  }

  /** An attempt is asked to stop. */
  stop(place, run, reason) {
    const call = this.#call(place, run);
    if (call !== undefined) call.stop(reason);
  }

  /** An attempt is over; nobody can be asked any more for the id and the lane of its command. */
  over(place, run, reason, id, laneId) {
    const call = this.#call(place, run);
    if (call === undefined) return;
    this.#end(call);
    call.stop(reason, { id, laneId });
  }
}

module.exports = { Calls };
