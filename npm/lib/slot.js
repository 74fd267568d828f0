'use strict';

const { AsyncResource } = require('async_hooks');

const { LaneError, isLaneError } = require('./error.js');

const PENDING = 0;
const COMPLETED = 1;
const FAILED = 2;

/** It is told when it has settled, not when it is garbage. */
const RESOURCE = { requireManualDestroy: true };

let resolve;

/** One function for all promises: a closure for each would be as large as the promise. Nobody needs the second argument. */
function capture(resolveIt) {
  resolve = resolveIt;
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
    /** The newest call; once it has settled, the result or the error. */
    this.value = undefined;
    /** The handle that somebody has, unless it is a native one. */
    this.handle = undefined;
    this.promise = undefined;
    this.resolve = undefined;
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
          resolve = undefined;
          this.kind.bridge.awaits();
      }
    }
    return this.promise;
  }

  /** What its newest call has returned. */
  get returned() {
    return this.value.ended;
  }

  complete(value) {
    const settle = this.resolve;
    this.#settle(COMPLETED, value);
    if (settle !== undefined) settle(value);
  }

  /** `status` is the number of the native half for how it has failed. */
  fail(code, message, status) {
    const { resolve: settle, handle, value: call } = this;
    const failure = call === undefined ? undefined : call.ended;
    const own = failure instanceof Failure && failure.text === message;
    const error = own ? laneError(failure.thrown, code, message) : new LaneError(message, code);
    if (handle !== undefined) handle._settled(status);
    this.#settle(FAILED, error);
    // As good as a function that rejects, which each promise would have to keep.
    if (settle !== undefined) settle(Promise.reject(error));
  }

  #settle(state, value) {
    this.state = state;
    this.value = value;
    this.payload = undefined;
    this.handle = undefined;
    this.resolve = undefined;
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
  return isLaneError(thrown) ? thrown : new LaneError(message, code, { cause: thrown });
}

module.exports = { Failure, Slot };
