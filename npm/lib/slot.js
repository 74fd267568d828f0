'use strict';

const { AsyncResource } = require('async_hooks');

const { LaneError } = require('./error.js');

const PENDING = 0;
const COMPLETED = 1;
const FAILED = 2;

/** It is told when it has settled, not when it is garbage. */
const RESOURCE = { requireManualDestroy: true };

let resolve;
let reject;

/** One function for all promises: a closure for each would be as large as the promise. */
function capture(resolveIt, rejectIt) {
  resolve = resolveIt;
  reject = rejectIt;
}

/**
 * One command whose payload and result stay in JavaScript. The native half knows it by its token, until it has settled. Its
 * handler runs in the asynchronous context of whoever submitted it.
 *
 * There may be very many of these, so they have few fields.
 */
class Slot extends AsyncResource {
  constructor(kind, token, payload) {
    super('A3sLaneCommand', RESOURCE);
    /** `{ bridge, laneId, commandType, ... }`, shared by all alike. */
    this.kind = kind;
    this.token = token;
    this.payload = payload;
    /** Payload and result leave JavaScript: others may share the result of a command with a unique key. */
    this.isJson = token < 0;
    this.state = PENDING;
    /** The result or the error, once it has settled; before that, what the newest call has returned or thrown. */
    this.value = undefined;
    /** The number of that call. */
    this.call = 0;
    /** The handle that somebody has, unless it is a native one. */
    this.handle = undefined;
    this.promise = undefined;
    this.resolve = undefined;
    this.reject = undefined;
  }

  /** The promise of the result, made when somebody asks: nobody hears of a failure that nobody asks for. */
  result() {
    if (this.promise === undefined) {
      switch (this.state) {
        case COMPLETED:
          this.promise = Promise.resolve(this.value);
          break;
        case FAILED:
          this.promise = Promise.reject(this.value);
          break;
        default:
          this.promise = new Promise(capture);
          this.resolve = resolve;
          this.reject = reject;
          resolve = reject = undefined;
          this.kind.bridge.awaits();
      }
    }
    return this.promise;
  }

  /** What a call has returned, or how it has failed. */
  ended(call, value) {
    // A call that was given up may end after the one that followed it.
    if (call < this.call) return;
    this.call = call;
    this.value = value;
  }

  complete(value) {
    this.#settle(COMPLETED, value);
    if (this.resolve !== undefined) this.resolve(value);
  }

  /** `status` is the number of the native half for how it has failed. */
  fail(code, message, status) {
    const own = this.value instanceof Failure && this.value.text === message;
    const error = own ? laneError(this.value.thrown, code, message) : new LaneError(message, code);
    if (this.handle !== undefined) this.handle._failed(status);
    this.#settle(FAILED, error);
    if (this.reject !== undefined) this.reject(error);
  }

  #settle(state, value) {
    this.state = state;
    this.value = value;
    this.payload = undefined;
    this.handle = undefined;
  }

  get isSettled() {
    return this.state !== PENDING;
  }
}

/** What a call has thrown, and the text of the native half for it. */
class Failure {
  constructor(text, thrown) {
    this.text = text;
    this.thrown = thrown;
  }
}

/** What a handler has thrown, as its submitter sees it. */
function laneError(thrown, code, message) {
  return thrown instanceof LaneError ? thrown : new LaneError(message, code, { cause: thrown });
}

module.exports = { Failure, Slot };
