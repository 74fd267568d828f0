'use strict';

// What a thread of workers.js runs: one call of the handler at a time.

const { pathToFileURL } = require('url');
const { parentPort, workerData } = require('worker_threads');

const { abort } = require('./abort.js');
const { REASONS } = require('./context.js');
const { LaneError, messageOf } = require('./error.js');

const { module: place, name, stop } = workerData;
let controller;

/** What a handler in a thread knows of its attempt, and can tell. */
class WorkerContext {
  #facts;
  #signal;

  constructor(facts, signal) {
    this.#facts = facts;
    this.#signal = signal;
  }

  get id() {
    return this.#facts.id;
  }

  get laneId() {
    return this.#facts.laneId;
  }

  get attempt() {
    return this.#facts.attempt;
  }

  get metadata() {
    return this.#facts.metadata;
  }

  get deadline() {
    return this.#facts.deadline;
  }

  get timeLeftMs() {
    const { deadline } = this.#facts;
    return deadline === null ? null : Math.max(0, deadline.getTime() - Date.now());
  }

  get signal() {
    return this.#signal;
  }

  get stopReason() {
    return REASONS[Atomics.load(stop, 0)];
  }

  progress(value) {
    this.#tell('progress', value);
  }

  emit(chunk) {
    this.#tell('emit', chunk);
  }

  heartbeat() {
    this.#tell('heartbeat');
  }

  settleCost(cost) {
    this.#tell('settleCost', cost);
  }

  /** After its end an attempt tells nothing more: the next one would seem to say it. */
  #tell(what, value) {
    if (controller !== undefined && controller.signal === this.#signal) parentPort.postMessage({ told: { what, value } });
  }
}

/** The handler, loaded once: ES modules and CommonJS. */
const loading = (async () => {
  const loaded = await import(place.startsWith('file:') ? place : pathToFileURL(place).href);
  const handler = name === undefined ? loaded.default : loaded[name];
  if (typeof handler !== 'function') throw new TypeError(`${place} exports no function '${name === undefined ? 'default' : name}'`);
  return handler;
})();
// Told to each call.
loading.catch(() => {});

async function run({ payload, facts }) {
  const { signal } = (controller = new AbortController());
  let answer;
  try {
    const handler = await loading;
    answer = { result: await handler(payload, new WorkerContext(facts, signal)) };
  } catch (thrown) {
    answer = { error: told(thrown) };
  }
  controller = undefined;
  try {
    parentPort.postMessage(answer);
  } catch (error) {
    // What cannot be copied.
    parentPort.postMessage({ error: { thrown: new Error(`cannot be handed over: ${messageOf(error)}`) } });
  }
}

function told(thrown) {
  if (!(thrown instanceof LaneError)) return { thrown };
  const { message, code, stack, cause } = thrown;
  return { lane: { message, code, stack, ...(cause !== undefined && { cause }) } };
}

parentPort.on('message', (message) => {
  if (message.stop === undefined) run(message);
  else if (controller !== undefined) abort(controller, new LaneError(message.stop.message, message.stop.code));
});

parentPort.on('messageerror', (error) => {
  // What asks a call to stop is plain text, so it was another call, which nobody but this thread can end.
  if (controller !== undefined) return;
  parentPort.postMessage({ error: { thrown: new Error(`the payload cannot be read in the worker thread: ${messageOf(error)}`) } });
});
