'use strict';

// Ten rounds of many handlers with random ends, in a process of its own; prints what it holds after each as JSON:
//
//   node --expose-gc npm/tests/stress.js [rounds]
//
// Each round: 10,000 async handlers that run at the same moment, 200 functions, 50 calls in worker threads and 1,000 handlers
// that run into a time limit, submitted by 8 tasks in turn.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');

const { Lane } = require('@a3s-lab/lane');

const ASYNC = 10_000;
const PLAIN = 200;
const THREADED = 48;
const TIMED = 1000;
const SUBMITTERS = 8;

/** A generator of numbers from 0 to 1: the same for the same seed. */
function seeded(seed) {
  let state = seed + 1;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

const KINDS = ['completes', 'completes', 'fails', 'cancelled'];

/** Resolves when the attempt is asked to stop. */
function stopped(signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

async function round(seed) {
  const choose = seeded(seed);
  const retryPolicy = { maxRetries: 1, initialDelayMs: 1, maxDelayMs: 1 };
  const lane = Lane.withLanes([
    { laneId: 'loop', priority: 0, maxConcurrency: ASYNC, retryPolicy },
    { laneId: 'timed', priority: 1, maxConcurrency: TIMED },
    { laneId: 'other', priority: 2, maxConcurrency: PLAIN, retryPolicy },
  ]);
  let running = 0;
  let open;
  const all = new Promise((resolve) => {
    open = resolve;
  });
  lane.handle('async', async (kind, ctx) => {
    if (kind === 'child') return ctx.submitChild('other', 'plain', 'completes');
    running += 1;
    if (running === ASYNC) open();
    await all;
    if (kind === 'cancelled') await stopped(ctx.signal);
    if (kind === 'fails' && ctx.attempt < 2) throw new Error(kind);
    ctx.progress(1);
    return kind;
  });
  lane.handle('plain', (kind, ctx) => {
    if (kind === 'fails' && ctx.attempt < 2) throw new Error(kind);
    return kind;
  });
  lane.handle('endless', (_, ctx) => stopped(ctx.signal));
  lane.handle('threaded', { module: path.join(__dirname, 'modules', 'work.js'), export: 'where', threads: 2 });
  lane.start();

  const handles = [];
  const cancelled = [];
  const submit = async () => {
    for (const [laneId, type, count] of [
      ['loop', 'async', ASYNC],
      ['other', 'plain', PLAIN],
      ['other', 'threaded', THREADED],
      ['timed', 'endless', TIMED],
    ]) {
      for (let n = 0; n < count / SUBMITTERS; n += 1) {
        const kind = KINDS[Math.floor(choose() * KINDS.length)];
        const options = type === 'endless' ? { timeoutMs: 1 + choose() * 500 } : undefined;
        const handle = lane.enqueue(laneId, type, type === 'threaded' ? n : kind, options);
        handles.push(handle);
        if (kind === 'cancelled' && type === 'async') cancelled.push(handle);
        if (n % 100 === 0) await new Promise(setImmediate);
      }
    }
  };
  await Promise.all(Array.from({ length: SUBMITTERS }, submit));
  assert.equal(handles.length, ASYNC + PLAIN + THREADED + TIMED);
  // All are in it at once; only then are some cancelled.
  await all;
  cancelled.sort(() => choose() - 0.5);
  for (const handle of cancelled) handle.cancel();
  for (let n = 0; n < 100; n += 1) handles.push(lane.enqueue('loop', 'async', 'child'));

  const outcomes = { completed: 0, TIMEOUT: 0, CANCELLED: 0 };
  for (const handle of handles) {
    const outcome = await handle.result().then(
      () => 'completed',
      ({ code }) => code,
    );
    outcomes[outcome] = (outcomes[outcome] || 0) + 1;
  }
  const expected = { TIMEOUT: TIMED, CANCELLED: cancelled.length };
  assert.deepEqual(outcomes, { completed: handles.length - TIMED - cancelled.length, ...expected });
  lane.shutdown();
  await lane.drainAsync(60_000);
  const { totalPending, totalActive } = lane.stats();
  assert.deepEqual([totalPending, totalActive], [0, 0]);
  // Ends its threads, which would otherwise end when they have been idle for a while.
  lane.removeHandler('threaded');
  return outcomes;
}

/** What is left of the rounds so far. */
async function held() {
  for (let n = 0; n < 5; n += 1) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { heapUsed, heapTotal, rss } = process.memoryUsage();
  const mib = (bytes) => Math.round((bytes / 2 ** 20) * 10) / 10;
  const handles = process._getActiveHandles().filter((one) => ![process.stdout, process.stderr].includes(one));
  const kinds = handles.map((one) => one.constructor.name);
  // What the engine of JavaScript has taken comes and goes.
  return { heap: mib(heapUsed), native: mib(rss - heapTotal), files: fs.readdirSync('/proc/self/fd').length, handles: kinds };
}

(async () => {
  const rounds = Number(process.argv[2] || 10);
  const { files } = await held();
  for (let number = 0; number < rounds; number += 1) {
    const outcomes = await round(number);
    console.log(JSON.stringify({ ...(await held()), outcomes }));
  }
  // A thread takes a while to end.
  const end = Date.now() + 60_000;
  while ((await held()).files > files && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 100));
  console.log(JSON.stringify({ leftFiles: (await held()).files - files }));
})();
