'use strict';

// Handlers in worker threads.

const assert = require('node:assert/strict');
const { BlockList } = require('net');
const path = require('path');
const test = require('node:test');
const { pathToFileURL } = require('url');
const { threadId } = require('worker_threads');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { eventually, program } = require('./support.js');

const WORK = path.join(__dirname, 'modules', 'work.js');

/** A started lane with some of the module's functions as handlers. */
function started(names, options = {}) {
  const lane = Lane.withLanes(
    [{ laneId: 'work', priority: 1, minConcurrency: 0, maxConcurrency: 8, ...options }],
    { limiters: { tokens: { maxCommands: 10, windowMs: 4_000_000 } } },
  );
  for (const name of names) lane.handle(name, { module: WORK, export: name, threads: 2, graceMs: 20 });
  lane.start();
  return lane;
}

const errorOf = (promise) => promise.then(() => undefined, (error) => error);

test('a module is run in threads, no more than it may have', async () => {
  const lane = started(['where']);
  const threads = await Promise.all(Array.from({ length: 12 }, () => lane.submitAsync('work', 'where')));
  assert.equal(new Set(threads).size, 2);
  assert.ok(!threads.includes(threadId));
  lane.removeHandler('where');
  assert.equal(await lane.submitAsync('work', 'where', 'echo'), 'echo');
});

test('a handler in a thread knows its attempt', async () => {
  const lane = started(['add']);
  const options = { id: 'mine', metadata: { user: 7 }, timeoutMs: 60_000 };
  assert.deepEqual(await lane.submitAsync('work', 'add', { a: 1, b: 2 }, options), {
    sum: 3,
    id: 'mine',
    laneId: 'work',
    attempt: 1,
    metadata: { user: 7 },
    hasTime: true,
  });
});

test('a module may be an ES module, a path or a URL, with a default export', async () => {
  const lane = started([]);
  const module = path.join(__dirname, 'modules', 'work.mjs');
  for (const place of [module, pathToFileURL(module), path.relative(process.cwd(), module)]) {
    lane.handle('double', { module: place });
    assert.equal(await lane.submitAsync('work', 'double', 4), 8);
  }
});

test('the errors of a thread arrive', async () => {
  const lane = started(['fails'], { retryPolicy: { maxRetries: 1, initialDelayMs: 0 } });
  const thrown = await errorOf(lane.submitAsync('work', 'fails'));
  assert.equal(thrown.code, 'COMMAND_ERROR');
  assert.ok(thrown.cause instanceof RangeError);
  assert.match(thrown.cause.stack, /work\.js/);
  const unrecoverable = await errorOf(lane.submitAsync('work', 'fails', 'unrecoverable'));
  assert.ok(unrecoverable instanceof LaneError);
  assert.deepEqual([unrecoverable.code, unrecoverable.message, unrecoverable.cause], ['UNRECOVERABLE', 'in vain', 'of it']);
  assert.match((await errorOf(lane.submitAsync('work', 'fails', 'function'))).message, /cannot be handed over/);
  assert.match((await errorOf(lane.submitAsync('work', 'fails', 'exit'))).message, /exit code 3/);
  assert.equal((await errorOf(lane.submitAsync('work', 'fails', () => {}))).cause.name, 'DataCloneError');
  lane.handle('missing', { module: WORK, export: 'missing' });
  assert.match((await errorOf(lane.submitAsync('work', 'missing'))).message, /exports no function 'missing'/);
  lane.handle('nowhere', { module: './nowhere.js' });
  assert.match((await errorOf(lane.submitAsync('work', 'nowhere'))).message, /nowhere\.js/);
});

test('a thread is asked to stop, and ended when it does not', async () => {
  const lane = started(['waits', 'spins', 'where']);
  const waits = lane.enqueue('work', 'waits');
  await eventually(() => waits.status === 'running');
  waits.cancel();
  assert.equal((await errorOf(waits.result())).code, 'CANCELLED');
  // All threads spin for longer than anybody waits. They are replaced.
  const spins = Array.from({ length: 4 }, () => errorOf(lane.submitAsync('work', 'spins', 600, { timeoutMs: 50 })));
  assert.deepEqual((await Promise.all(spins)).map(({ code }) => code), Array(4).fill('TIMEOUT'));
  assert.deepEqual(await lane.submitAsync('work', 'spins', 0), undefined);
});

test('a call that waits for a thread may be cancelled', async () => {
  const lane = started(['waits']);
  const handles = Array.from({ length: 4 }, () => lane.enqueue('work', 'waits'));
  await eventually(() => handles.every(({ status }) => status === 'running'));
  assert.equal(lane.cancelLane('work'), 4);
  const codes = await Promise.all(handles.map((handle) => errorOf(handle.result())));
  assert.deepEqual(codes.map(({ code }) => code), Array(4).fill('CANCELLED'));
});

test('a loop in a thread sees that it must stop', async () => {
  const lane = started([], { graceMs: 60_000 });
  lane.handle('spins', { module: WORK, export: 'spinsUntilStopped', threads: 1, graceMs: 60_000 });
  const handle = lane.enqueue('work', 'spins');
  await eventually(() => handle.status === 'running');
  handle.cancel();
  assert.equal(await handle, 'cancel', 'it completes within the grace of its lane');
});

test('a thread reports as any handler does', async () => {
  const lane = started(['reports'], { limiters: ['tokens'] });
  const handle = lane.enqueue('work', 'reports', null, { cost: 10 });
  const chunks = [];
  for await (const chunk of handle) chunks.push(chunk);
  assert.deepEqual(chunks, ['a', 'b']);
  const progress = [];
  for await (const value of handle.progress()) progress.push(value);
  assert.deepEqual(progress, [{ done: 1 }]);
  assert.equal(await handle, 'end');
  // The cost was settled to 1, else it would wait for more than an hour.
  assert.equal(await lane.submitAsync('work', 'reports', null, { cost: 9 }), 'end');
});

test('wrong settings are refused', () => {
  const lane = started([]);
  const module = WORK;
  for (const wrong of [{}, { module: 5 }, { module, threads: '2' }, { module, export: 5 }, { module, thread: 2 }, []]) {
    assert.throws(() => lane.handle('x', wrong), TypeError);
  }
  for (const wrong of [{ threads: 0 }, { threads: 1.5 }, { graceMs: -1 }, { graceMs: NaN }]) {
    assert.throws(() => lane.handle('x', { module, ...wrong }), ({ code }) => code === 'INVALID_ARGUMENT');
  }
});

test('threads do not keep the process', async () => {
  const code = `const { Lane } = require('@a3s-lab/lane');
    const lane = new Lane(); lane.start();
    for (const name of ['where', 'spins']) lane.handle(name, { module: ${JSON.stringify(WORK)}, export: name, threads: 2, graceMs: 10 });
    lane.submitAsync('query', 'where').then((id) => console.log(id > 0));
    lane.submitAsync('query', 'spins', 600, { timeoutMs: 50 }).catch(({ code }) => console.log(code));`;
  for (const esm of [false, true]) {
    const { status, stdout, stderr } = await program(esm ? code.replace(/const (.*) = require\((.*)\);/, 'import $1 from $2;') : code, { esm });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
    assert.deepEqual(stdout.split('\n').sort(), ['', 'TIMEOUT', 'true']);
  }
});

test('a message of a thread that cannot be read is an error of its handler', async () => {
  const { status, stderr } = await program(`
    const assert = require('assert');
    const threads = require('worker_threads');
    const made = [];
    threads.Worker = class extends threads.Worker {
      constructor(...args) {
        super(...args);
        made.push(this);
      }
    };
    const { Lane } = require('@a3s-lab/lane');
    const lane = Lane.withLanes([{ laneId: 'work', priority: 1, minConcurrency: 0, maxConcurrency: 1 }]);
    lane.handle('slow', { module: ${JSON.stringify(WORK)}, export: 'slow', threads: 1 });
    lane.start();
    const handle = lane.enqueue('work', 'slow', 'first');
    (async () => {
      while (made.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      await new Promise((resolve) => made[0].once('online', resolve));
      made[0].emit('messageerror', new TypeError('not to be read'));
      await assert.rejects(Promise.resolve(handle), /not to be read/);
      // The thread goes on with its call: its answer is not taken for that of the next one.
      assert.equal(await lane.submitAsync('work', 'slow', 'second'), 'second');
      process.exit(0);
    })();
  `);
  assert.equal(status, 0, stderr);
});

test('a payload that a thread cannot read is an error of its command', async () => {
  const lane = started(['reads']);
  assert.equal(await lane.submitAsync('work', 'reads', 'first'), 'first');
  // Copied here, and nothing there knows any more how to make it.
  const thrown = await errorOf(lane.submitAsync('work', 'reads', new BlockList()));
  assert.equal(thrown.code, 'COMMAND_ERROR');
  assert.match(thrown.message, /the payload cannot be read in the worker thread: .*BlockList/);
  assert.equal(await lane.submitAsync('work', 'reads', 'next'), 'next');
});

test('a signal has a reason where signals have none of their own', async () => {
  const { status, stderr } = await program(`
    // As before Node.js 16.14.
    delete AbortSignal.prototype.reason;
    const assert = require('assert');
    const { Lane } = require('@a3s-lab/lane');
    const seen = [];
    const lane = Lane.withLanes([{ laneId: 'work', priority: 1, minConcurrency: 0, maxConcurrency: 2 }]);
    lane.handle('here', (_, { signal }) => new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        seen.push(signal.reason.code);
        reject(signal.reason);
      });
    }));
    lane.handle('there', { module: ${JSON.stringify(WORK)}, export: 'waits', threads: 1 });
    lane.start();
    (async () => {
      for (const name of ['here', 'there']) {
        const error = await lane.submitAsync('work', name, null, { timeoutMs: 200 }).catch((error) => error);
        assert.equal(error.code, 'TIMEOUT', name + ': ' + error);
      }
      assert.deepEqual(seen, ['TIMEOUT']);
      process.exit(0);
    })();
  `);
  assert.equal(status, 0, stderr);
});
