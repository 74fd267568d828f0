'use strict';

// Handlers in worker threads: a module that a pool of threads loads. To the lane such a handler is a function like any other.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { Worker } = require('worker_threads');
// Node's own: a test may put others in the place of the global ones.
const { clearTimeout, setTimeout } = require('timers');

const check = require('./check.js');
const { REASONS } = require('./context.js');
const { LaneError } = require('./error.js');

const ENTRY = path.join(__dirname, 'worker.js');
/** How long a thread may go on with a call that was asked to stop. */
const GRACE_MS = 1000;
/** How long a thread that has nothing to do is kept. */
const IDLE_MS = 10_000;
const LONGEST_MS = 2 ** 31 - 1;

/** The pools of the handlers made here. */
const pools = new WeakMap();

/** The handler of a module, as `Lane.handle` takes it. */
function threaded(name, value) {
  check.fields(name, value, ['module', 'export', 'threads', 'graceMs']);
  const { module } = value;
  if (typeof module !== 'string' && !(module instanceof URL)) check.refuse(`${name}.module`, 'a path or a URL', module);
  const threads = check.optional(check.number, `${name}.threads`, value.threads);
  const graceMs = check.optional(check.number, `${name}.graceMs`, value.graceMs);
  within(`${name}.threads`, threads, 1, 1024, Number.isInteger);
  within(`${name}.graceMs`, graceMs, 0, LONGEST_MS, Number.isFinite);
  if (!fs.existsSync(ENTRY)) {
    const text = `${name}: worker threads need the file ${ENTRY}: have the bundler leave '@a3s-lab/lane' out (external)`;
    throw new LaneError(text, 'CONFIG_ERROR');
  }
  const pool = new Pool({
    module: module instanceof URL ? module.href : path.resolve(module),
    name: check.optional(check.string, `${name}.export`, value.export),
    threads: threads === undefined ? os.cpus().length : threads,
    graceMs: graceMs === undefined ? GRACE_MS : graceMs,
  });
  const handler = (payload, ctx) => pool.run(payload, ctx);
  pools.set(handler, pool);
  return handler;
}

/** A handler is not used any more; of any other function that is nothing. */
function discard(handler) {
  const pool = pools.get(handler);
  if (pool !== undefined) pool.close();
}

function within(name, value, low, high, fits) {
  if (value === undefined || (fits(value) && value >= low && value <= high)) return;
  throw new LaneError(`${name} must be a number from ${low} to ${high} (got ${value})`, 'INVALID_ARGUMENT');
}

/** Threads that run one call each at a time. Calls beyond their number wait. */
class Pool {
  #settings;
  #idle = [];
  #count = 0;
  #waiting = [];
  #closed = false;

  constructor(settings) {
    this.#settings = settings;
  }

  run(payload, ctx) {
    return new Promise((resolve, reject) => {
      const { signal } = ctx;
      // Middleware may have let it wait.
      if (signal.aborted) return reject(signal.reason);
      const call = { payload, ctx, resolve, reject, thread: undefined };
      signal.addEventListener('abort', () => {
        // A thread may still end it as it likes, within its grace.
        if (call.thread !== undefined) return call.thread.stop(call);
        this.#waiting = this.#waiting.filter((other) => other !== call);
        reject(signal.reason);
      });
      this.#waiting.push(call);
      this.#next();
    });
  }

  /** Ends the threads, those that run a call once it has ended. */
  close() {
    this.#closed = true;
    for (const thread of this.#idle.splice(0)) thread.end();
  }

  #next() {
    while (this.#waiting.length > 0 && (this.#idle.length > 0 || this.#count < this.#settings.threads)) {
      const call = this.#waiting.shift();
      try {
        (this.#idle.pop() || this.#start()).begin(call);
      } catch (error) {
        // There is no thread to be had.
        call.reject(error);
      }
    }
  }

  #start() {
    const thread = new Thread(this.#settings, {
      free: (thread) => {
        if (this.#closed && this.#waiting.length === 0) return thread.end();
        this.#idle.push(thread);
        this.#next();
      },
      gone: (thread) => {
        this.#count -= 1;
        this.#idle = this.#idle.filter((other) => other !== thread);
        this.#next();
      },
    });
    this.#count += 1;
    return thread;
  }
}

class Thread {
  #worker;
  #settings;
  #owner;
  #call;
  #timer;
  #gone = false;
  /** Why the call must stop: the thread sees it also in a loop that hears no message. */
  #stop = new Int32Array(new SharedArrayBuffer(4));

  constructor(settings, owner) {
    this.#settings = settings;
    this.#owner = owner;
    const { module, name } = settings;
    this.#worker = new Worker(ENTRY, { ...flags(), workerData: { module, name, stop: this.#stop } });
    this.#worker.on('message', (message) => this.#hear(message));
    this.#worker.on('messageerror', (error) => {
      // The thread may go on with its call: it is not to be trusted with another.
      this.#lost(error);
      this.#worker.terminate();
    });
    this.#worker.on('error', (error) => this.#lost(error));
    this.#worker.on('exit', (code) => this.#lost(new Error(`the worker thread of the handler has ended with exit code ${code}`)));
  }

  begin(call) {
    clearTimeout(this.#timer);
    call.thread = this;
    this.#call = call;
    const { id, laneId, attempt, metadata, deadline } = call.ctx;
    Atomics.store(this.#stop, 0, 0);
    this.#worker.ref();
    try {
      this.#worker.postMessage({ payload: call.payload, facts: { id, laneId, attempt, metadata, deadline } });
    } catch (error) {
      // The payload cannot be copied.
      call.reject(error);
      this.#free();
    }
  }

  stop(call) {
    if (this.#call !== call) return;
    const { ctx } = call;
    Atomics.store(this.#stop, 0, REASONS.indexOf(ctx.stopReason));
    const { message, code } = ctx.signal.reason;
    this.#worker.postMessage({ stop: { message, code } });
    this.#timer = setTimeout(() => this.end(), this.#settings.graceMs);
  }

  end() {
    this.#lost(new Error('the worker thread of the handler was ended'));
    this.#worker.terminate();
  }

  #hear({ told, result, error }) {
    const call = this.#call;
    if (call === undefined) return;
    try {
      if (told !== undefined) return call.ctx[told.what](told.value);
    } catch (failure) {
      // It is the handler's error, which cannot be told where it was made.
      return call.reject(failure);
    }
    if (error === undefined) call.resolve(result);
    else call.reject(revived(error));
    this.#free();
  }

  #free() {
    clearTimeout(this.#timer);
    this.#call = undefined;
    this.#worker.unref();
    this.#timer = setTimeout(() => this.end(), IDLE_MS);
    this.#timer.unref();
    this.#owner.free(this);
  }

  #lost(error) {
    if (this.#gone) return;
    this.#gone = true;
    clearTimeout(this.#timer);
    if (this.#call !== undefined) this.#call.reject(error);
    this.#call = undefined;
    this.#owner.gone(this);
  }
}

/** A thread has the flags of the process, but for the one that says how a program on the command line is to be read. */
function flags() {
  const isForeign = (flag) => flag.startsWith('--input-type');
  return process.execArgv.some(isForeign) ? { execArgv: process.execArgv.filter((flag) => !isForeign(flag)) } : {};
}

/** An error of the thread. */
function revived({ thrown, lane }) {
  if (lane === undefined) return thrown;
  const error = new LaneError(lane.message, lane.code, lane);
  error.stack = lane.stack;
  return error;
}

module.exports = { discard, threaded };
