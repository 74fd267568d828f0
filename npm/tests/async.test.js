'use strict';

// Calls that do not block, and what else goes on meanwhile.

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { ManualClock, createLane, submitScripted } = require('@a3s-lab/lane/testing');
const { PATIENCE_MS, eventually, program, record } = require('./support.js');

function started(options = {}) {
  const lane = Lane.withLanes([
    { laneId: 'work', priority: 1, minConcurrency: 0, ...options },
    { laneId: 'other', priority: 2, minConcurrency: 0 },
  ]);
  lane.start();
  return lane;
}

const codeOf = (promise) => Promise.resolve(promise).then(() => 'completed', ({ code }) => code);

test('a refused submitAsync rejects, and nothing else happens', async () => {
  const lane = started({ maxPending: 1 });
  lane.handle('x', () => 1);
  assert.equal(await codeOf(lane.submitAsync('nowhere', 'x')), 'LANE_NOT_FOUND');
  assert.equal(await codeOf(lane.submitAsync('nowhere', 'x', null, { priority: 1 })), 'LANE_NOT_FOUND');
  assert.equal(await codeOf(lane.submitAsync('work', 'x', null, { ttlMs: 0 })), 'CONFIG_ERROR');
  assert.equal(await codeOf(lane.submitAsync('work', 'x', null, { cost: -1 })), 'INVALID_ARGUMENT');
  for (const wrong of [lane.submitAsync(5, 'x'), lane.submitAsync('work'), lane.submitAsync('work', 'x', 1, 5)]) {
    await assert.rejects(wrong, TypeError);
  }
  lane.pauseLane('work');
  const [first, second] = [lane.submitAsync('work', 'x'), codeOf(lane.submitAsync('work', 'x'))];
  assert.equal(await second, 'LANE_FULL');
  assert.throws(() => lane.enqueue('work', 'x'), ({ code }) => code === 'LANE_FULL');
  lane.resumeLane('work');
  assert.equal(await first, 1);
  lane.shutdown();
  assert.equal(await codeOf(lane.submitAsync('work', 'x')), 'SHUTDOWN_IN_PROGRESS');
});

test('a full lane that says wait lets commands wait', async () => {
  const lane = started({ maxPending: 1, maxConcurrency: 1, overflow: 'wait' });
  const order = [];
  lane.handle('x', async (n) => {
    order.push(n);
    await new Promise(setImmediate);
    return n;
  });
  const all = [0, 1, 2, 3, 4].map((n) => lane.submitAsync('work', 'x', n));
  all.push(...[5, 6].map((n) => lane.submitAsync('work', 'x', n, { key: 'k' })));
  all.push(lane.enqueue('work', 'x', 7).result());
  assert.deepEqual(await Promise.all(all), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7]);
});

test('options are heeded: delay, expiry, priority, id', async () => {
  const clock = new ManualClock();
  const lane = createLane({ clock, configs: [{ laneId: 'work', priority: 1, maxConcurrency: 1 }] });
  lane.start();
  const order = [];
  lane.handle('x', (name) => void order.push(name));
  lane.pauseLane('work');
  const all = [
    lane.submitAsync('work', 'x', 'late', { priority: 5 }),
    lane.submitAsync('work', 'x', 'plain'),
    lane.submitAsync('work', 'x', 'early', { priority: -5 }),
    lane.submitAsync('work', 'x', 'delayed', { delayMs: 50, priority: -9 }),
  ];
  const expires = codeOf(lane.submitAsync('work', 'x', 'never', { ttlMs: 1 }));
  clock.advance(1);
  assert.equal(await expires, 'EXPIRED');
  const named = lane.submitAsync('work', 'x', 'named', { id: 'n', priority: 9 });
  assert.equal(await codeOf(lane.submitAsync('work', 'x', 'twin', { id: 'n' })), 'DUPLICATE');
  const delayed = lane.snapshot().commands.filter(({ status }) => status === 'delayed');
  assert.equal(delayed.length, 1);
  clock.advance(49);
  await eventually(() => lane.snapshot().commands.every(({ status }) => status === 'pending'));
  lane.resumeLane('work');
  await Promise.all([...all, named]);
  assert.deepEqual(order, ['delayed', 'early', 'plain', 'late', 'named']);
});

test('what was submitted counts at once for whoever looks', async () => {
  const lane = Lane.withLanes([{ laneId: 'work', priority: 1 }]);
  lane.handle('x', (n) => n);
  const results = [lane.submitAsync('work', 'x', 1), lane.submitAsync('work', 'x', 2)];
  assert.equal(lane.stats().totalPending, 2);
  const handle = lane.enqueue('work', 'x', 3);
  assert.equal(handle.explain().reasons.find(({ reason }) => reason === 'behind').commands, 2);
  assert.equal(handle.status, 'pending');
  assert.deepEqual([handle.laneId, handle.id.length], ['work', 36]);
  assert.equal(lane.cancelLane('work'), 3);
  assert.deepEqual(await Promise.all(results.map(codeOf)), ['CANCELLED', 'CANCELLED']);
  const last = lane.submitAsync('work', 'x', 4);
  lane.shutdown();
  lane.start();
  assert.equal(await last, 4, 'it was accepted before the end');
});

test('submitMany answers for each, with and without handlers', async () => {
  const lane = started();
  lane.handle('x', (n) => n * 2);
  const payload = { any: 'object' };
  const answers = lane.submitMany('work', [
    { commandType: 'x', payload: 1 },
    { commandType: 'x', payload: 2, options: { id: 'twin' } },
    { commandType: 'x', payload: 3, options: { id: 'twin' } },
    { commandType: 'text', payload: '[1,2]' },
    { commandType: 'x', payload: 4 },
  ]);
  assert.equal(answers.length, 5);
  assert.equal(answers[2].code, 'DUPLICATE');
  assert.deepEqual(await Promise.all([0, 1, 3, 4].map((index) => answers[index])), [2, 4, '[1,2]', 8]);
  assert.throws(() => lane.submitMany('work', [{ commandType: 'text', payload }]), TypeError);
  assert.throws(() => lane.submitMany('work', [{ commandType: 'x', payload }, { payload }]), TypeError);
  assert.deepEqual(lane.submitMany('nowhere', [{ commandType: 'x' }]).map(({ code }) => code), ['LANE_NOT_FOUND']);
  assert.deepEqual(lane.submitMany('work', []), []);
});

test('a handle is a promise any number of times', async () => {
  const lane = started();
  const result = {};
  lane.handle('x', () => result);
  const handle = lane.enqueue('work', 'x');
  assert.equal(await handle, result);
  assert.equal(await handle.result(), result);
  assert.equal(await Promise.race([handle]), result);
  assert.equal(handle.status, 'completed');
  assert.equal(handle.cancel(), false);
  assert.equal(handle.explain(), null);
  lane.handle('fails', () => Promise.reject(new Error('no')));
  const failing = lane.enqueue('work', 'fails');
  await eventually(() => failing.status === 'failed');
  const errors = await Promise.all([failing.result(), failing.result()].map((it) => it.catch((error) => error)));
  assert.ok(errors[0] instanceof LaneError && errors[0] === errors[1]);
});

test('events can be iterated, with the keys that are asked for', async () => {
  const lane = started();
  lane.handle('x', () => 1);
  const all = lane.events();
  const some = lane.events({ keys: ['queue.command.completed', 'queue.shutdown.complete'] });
  await lane.submitAsync('work', 'x', null, { id: 'one' });
  lane.shutdown();
  const seen = [];
  for await (const { key, payload, timestamp } of some) {
    seen.push([key, payload]);
    assert.ok(!Number.isNaN(Date.parse(timestamp)));
  }
  assert.deepEqual(seen, [
    ['queue.command.completed', { lane_id: 'work', command_id: 'one' }],
    ['queue.shutdown.complete', null],
  ]);
  const keys = [];
  for await (const { key } of all) keys.push(key);
  assert.deepEqual(keys, [
    'queue.command.submitted',
    'queue.command.started',
    'queue.command.completed',
    'queue.shutdown.started',
    'queue.shutdown.complete',
  ]);
  assert.deepEqual(await all.next(), { value: undefined, done: true });
  assert.throws(() => lane.events({ key: [] }), TypeError);
  assert.throws(() => lane.events({ keys: 'x' }), TypeError);
});

test('events are waited for, and an iteration may be left', async () => {
  const lane = started();
  // Nothing more happens to what was submitted.
  lane.pauseLane('work');
  // Events of an open lane are nothing that keeps a process; nor does this, for ever, where the test fails.
  const keeper = setTimeout(() => {}, PATIENCE_MS);
  const events = lane.events({ keys: ['queue.command.submitted'] });
  const next = [events.next(), events.next()];
  for (let n = 0; n < 3; n += 1) lane.enqueue('work', 'x');
  assert.deepEqual((await Promise.all(next)).map(({ done }) => done), [false, false]);
  for await (const { key } of events) {
    assert.equal(key, 'queue.command.submitted');
    break;
  }
  assert.equal((await events.next()).done, true);
  const other = lane.events();
  const waiting = other.next();
  await other.return();
  assert.equal((await waiting).done, true);
  clearTimeout(keeper);
});

test('a slow reader of events is told how many it has lost, and slows nobody', async () => {
  const lane = started();
  const events = lane.events({ keys: ['queue.command.submitted'] });
  const count = 60_000;
  const commands = Array.from({ length: 1000 }, () => ({ commandType: 'x' }));
  lane.pauseLane('work');
  for (let n = 0; n < count / 1000; n += 1) lane.submitMany('work', commands);
  lane.cancelLane('work');
  lane.shutdown();
  let seen = 0;
  let missed = 0;
  for await (const { key, payload } of events) {
    if (key === 'queue.events.lagged') missed += payload.missed;
    else seen += 1;
  }
  assert.ok(seen > 0 && missed > 0, `${seen} seen, ${missed} missed`);
  // Other events were lost among these: the cancellations.
  assert.ok(seen + missed >= count && seen < count, `${seen} seen, ${missed} missed`);
});

test('the queue ends when its work has ended', async () => {
  const lane = started();
  let ended = 0;
  lane.handle('x', async () => {
    await new Promise(setImmediate);
    ended += 1;
  });
  const all = Array.from({ length: 25 }, () => lane.enqueue('work', 'x'));
  await lane.drainAsync(30_000);
  assert.equal(ended, 25);
  lane.handle('endless', () => new Promise(() => {}));
  all.push(lane.enqueue('work', 'endless'));
  assert.equal(await codeOf(lane.drainAsync(10)), 'TIMEOUT');
  const { isClean, stopped } = await lane.shutdownWithin(10);
  assert.deepEqual([isClean, stopped.length], [false, 1]);
  assert.deepEqual((await Promise.all(all.map(codeOf))).slice(-2), ['completed', 'QUEUE_ERROR']);
});

test('a lane can be disposed of', { skip: Symbol.asyncDispose === undefined }, async () => {
  const lane = started();
  lane.handle('x', () => new Promise((resolve) => setTimeout(resolve, 5, 'done')));
  const result = lane.submitAsync('work', 'x');
  await lane[Symbol.asyncDispose]();
  assert.equal(lane.stats().totalActive, 0);
  assert.equal(await result, 'done');
  const unstarted = new Lane();
  const left = codeOf(unstarted.submitAsync('query', 'x'));
  await unstarted[Symbol.asyncDispose]();
  assert.equal(await left, 'QUEUE_ERROR');
});

/** Whether this version has the syntax. */
function hasUsing() {
  try {
    new Function('async () => { await using x = null; }');
    return true;
  } catch {
    return false;
  }
}

test('await using waits for what was accepted', { skip: !hasUsing() && 'Node.js has no await using before 24' }, async () => {
  const { status, stdout, stderr } = await program(`
    const { Lane } = require('@a3s-lab/lane');
    (async () => {
      {
        await using lane = new Lane();
        lane.handle('x', async () => {
          await new Promise((resolve) => setTimeout(resolve, 20));
          console.log('ended');
        });
        lane.start();
        lane.enqueue('query', 'x');
      }
      console.log('left');
    })();`);
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'ended\nleft\n', stderr: '' });
});

test('a subscription that comes after a submit does not see it', async () => {
  const lane = started();
  lane.handle('x', () => 1);
  const before = lane.submitAsync('work', 'x');
  const events = lane.events({ keys: ['queue.command.submitted', 'queue.command.completed'] });
  await before;
  assert.equal((await events.next()).value.key, 'queue.command.completed');
  await events.return();
});

test('l9_a_handler_that_blocks_its_thread_holds_up_only_handlers_of_that_thread', async () => {
  const lane = started({ maxConcurrency: 1, timeoutSecs: 0.05 });
  const events = record(lane);
  let native;
  lane.handle('block', () => {
    // The rest of the program cannot tell this one that it is time; it waits for what only others can do.
    native = submitScripted(lane, 'other', 'native', [[{ sleep_ms: 5 }, { return: 'native' }]]);
    const end = Date.now() + 30_000;
    while (Date.now() < end) {
      const { active } = lane.stats().lanes.find(({ laneId }) => laneId === 'work');
      // Its own slot was freed by its time limit, and the other lane's work has ended.
      if (active === 0 && lane.stats().totalActive === 0) return;
    }
    throw new Error('nothing went on');
  });
  assert.equal(await codeOf(lane.submitAsync('work', 'block')), 'TIMEOUT');
  assert.equal(await native, 'native');
  lane.shutdown();
  const keys = (await events.done()).map(({ key, payload }) => [key, JSON.parse(payload)?.lane_id]);
  assert.ok(keys.some(([key, laneId]) => key === 'queue.command.timeout' && laneId === 'work'));
  assert.ok(keys.some(([key, laneId]) => key === 'queue.command.completed' && laneId === 'other'));
});

test('a program that is busy with handlers has timers and sockets all the same', async () => {
  const lane = started();
  lane.handle('x', async () => {});
  let rang = false;
  setTimeout(() => (rang = true), 1);
  let count = 0;
  const again = async () => {
    while (!rang && count < 10_000_000) {
      count += 1;
      await lane.submitAsync('work', 'x');
    }
  };
  await Promise.all(Array.from({ length: 10 }, again));
  assert.ok(rang);
});

test('l7_every_promise_settles_under_random_cancels_and_time_limits', async () => {
  const lane = Lane.withLanes(
    [
      { laneId: 'a', priority: 1, minConcurrency: 0, maxConcurrency: 2000, preemptible: true, retryPolicy: { maxRetries: 1, initialDelayMs: 1 } },
      { laneId: 'b', priority: 0, minConcurrency: 0, maxConcurrency: 500, graceMs: 2 },
    ],
    { maxConcurrency: 2200 },
  );
  lane.start();
  // Lehmer's generator: the same run every time.
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const modes = [
    () => 1,
    async () => 2,
    () => new Promise((resolve) => setTimeout(resolve, random(10))),
    () => Promise.reject(new Error('no')),
    () => new Promise(() => {}),
    (_, ctx) => new Promise((_resolve, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason))),
    async (_, ctx) => {
      ctx.progress(1);
      ctx.emit(1);
      return ctx.submitChild(random(2) ? 'a' : 'b', 'mode0', null, { timeoutMs: 500 });
    },
  ];
  modes.forEach((mode, index) => lane.handle(`mode${index}`, mode));
  const count = 5000;
  const results = [];
  for (let n = 0; n < count; n += 1) {
    const laneId = random(2) ? 'a' : 'b';
    const type = `mode${random(modes.length)}`;
    const options = { timeoutMs: 1 + random(100), id: String(n), key: String(random(5)) };
    const call = random(3) === 0 ? lane.submitAsync(laneId, type, n, options) : lane.enqueue(laneId, type, n, options);
    results.push(codeOf(call));
    if (random(4) === 0) lane.cancel(String(random(n + 1)));
    if (random(50) === 0) await new Promise(setImmediate);
  }
  const codes = new Set(await Promise.all(results));
  assert.equal(results.length, count);
  for (const code of ['completed', 'TIMEOUT', 'CANCELLED', 'COMMAND_ERROR']) assert.ok(codes.has(code), code);
  await lane.drainAsync(60_000);
  assert.deepEqual([lane.stats().totalPending, lane.stats().totalActive], [0, 0]);
});
