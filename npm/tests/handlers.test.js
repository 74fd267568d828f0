'use strict';

// Handlers: JavaScript functions that lanes run.

const assert = require('node:assert/strict');
const { AsyncLocalStorage, createHook } = require('async_hooks');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { ManualClock, createLane } = require('@a3s-lab/lane/testing');
const { eventually, record } = require('./support.js');

/** A started lane `work`, and a `single` one that runs one command at a time. */
function started(options = {}, totals = {}) {
  const configs = [
    { laneId: 'work', priority: 1, minConcurrency: 0, maxConcurrency: 50, ...options },
    { laneId: 'single', priority: 2, minConcurrency: 0, maxConcurrency: 1, ...options },
  ];
  const lane = createLane({ configs, ...totals });
  lane.start();
  return lane;
}

/** The error with which a promise is rejected. */
async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: 'it was not rejected' });
}

/** A handler that waits until it is asked to stop, and what it saw. */
function waiting(lane, commandType = 'wait') {
  const seen = [];
  lane.handle(commandType, (_, { signal, attempt }) => {
    seen.push({ attempt, signal });
    return new Promise((resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  });
  return seen;
}

test('l17_async_functions_are_handlers', async () => {
  const lane = started();
  lane.handle('add', async ({ a, b }) => {
    await null;
    return { sum: a + b };
  });
  const sums = await Promise.all([1, 2, 3].map((a) => lane.submitAsync('work', 'add', { a, b: 1 })));
  assert.deepEqual(sums, [{ sum: 2 }, { sum: 3 }, { sum: 4 }]);
});

test('payloads and results are handed over as they are', async () => {
  const lane = started();
  const payload = { when: new Date(0), map: new Map(), self: undefined, big: 2n ** 70n };
  payload.self = payload;
  const result = { answer: new Set([1]) };
  lane.handle('x', async (given) => {
    assert.equal(given, payload);
    return result;
  });
  assert.equal(await lane.submitAsync('work', 'x', payload), result);
  assert.equal(await lane.enqueue('work', 'x', payload), result);
  assert.equal(await lane.submitMany('work', [{ commandType: 'x', payload }])[0], result);
  lane.handle('nothing', async () => {});
  assert.equal(await lane.submitAsync('work', 'nothing'), undefined);
});

test('plain functions and other thenables are handlers too', async () => {
  const lane = started();
  lane.handle('double', (n) => n * 2);
  lane.handle('thenable', () => ({ then: (resolve) => resolve(7) }));
  lane.handle('handle', (n) => lane.enqueue('work', 'double', n));
  lane.handle('throws', () => {
    throw new Error('at once');
  });
  assert.equal(await lane.submitAsync('work', 'double', 4), 8);
  assert.equal(await lane.submitAsync('work', 'thenable'), 7);
  assert.equal(await lane.submitAsync('work', 'handle', 5), 10);
  assert.match((await rejection(lane.submitAsync('work', 'throws'))).message, /at once/);
});

test('a type without a handler returns its payload', async () => {
  const lane = started();
  const payload = { a: 1 };
  assert.equal(await lane.submitAsync('work', 'x', payload), payload);
  lane.handle('x', () => 'handled');
  assert.equal(await lane.submitAsync('work', 'x', payload), 'handled');
  lane.handle('x', () => 'by another');
  assert.equal(await lane.submitAsync('work', 'x', payload), 'by another');
  assert.equal(lane.removeHandler('x'), true);
  assert.equal(lane.removeHandler('x'), false);
  assert.equal(await lane.submitAsync('work', 'x', payload), payload);
});

test('handlers run in the order of their lanes, as many at once as lanes let', async () => {
  const lane = Lane.withLanes([
    { laneId: 'later', priority: 9, maxConcurrency: 2 },
    { laneId: 'first', priority: 1, maxConcurrency: 1 },
  ]);
  const order = [];
  let running = 0;
  let most = 0;
  lane.handle('x', async (name) => {
    order.push(name);
    running += 1;
    most = Math.max(most, running);
    await new Promise(setImmediate);
    running -= 1;
  });
  const all = ['l1', 'l2', 'l3'].map((name) => lane.submitAsync('later', 'x', name));
  all.push(...['f1', 'f2'].map((name) => lane.submitAsync('first', 'x', name)));
  lane.start();
  await Promise.all(all);
  assert.deepEqual(order.slice(0, 3), ['f1', 'l1', 'l2']);
  assert.equal(most, 3);
});

test('a handler knows its attempt', async () => {
  const lane = started();
  let seen;
  lane.handle('x', async (_, { id, laneId, attempt, metadata, deadline, timeLeftMs, stopReason }) => {
    seen = { id, laneId, attempt, metadata, deadline, timeLeftMs, stopReason };
  });
  const before = Date.now();
  await lane.submitAsync('work', 'x', null, { id: 'mine', metadata: { user: 7 }, timeoutMs: 60_000 });
  const { deadline, timeLeftMs, ...rest } = seen;
  assert.deepEqual(rest, { id: 'mine', laneId: 'work', attempt: 1, metadata: { user: 7 }, stopReason: undefined });
  assert.ok(deadline instanceof Date && deadline.getTime() > before && deadline.getTime() <= Date.now() + 60_000);
  assert.ok(timeLeftMs > 0 && timeLeftMs <= 60_000);
  await lane.submitAsync('single', 'x');
  assert.deepEqual([seen.laneId, seen.deadline, seen.timeLeftMs, seen.metadata], ['single', null, null, {}]);
  assert.match(seen.id, /^[0-9a-f-]{36}$/);
});

test('a thrown error is the cause of the command\'s', async () => {
  const lane = started();
  const events = record(lane, ['queue.command.failed']);
  const original = new RangeError('too far');
  lane.handle('x', async () => {
    throw original;
  });
  const error = await rejection(lane.submitAsync('work', 'x'));
  assert.ok(error instanceof LaneError);
  assert.deepEqual([error.code, error.message], ['COMMAND_ERROR', 'Command execution error: too far']);
  assert.equal(error.cause, original);
  assert.match(error.cause.stack, /handlers\.test\.js/);
  const { error: told } = JSON.parse((await eventually(() => events.events[0])).payload);
  assert.equal(told, 'Command execution error: too far');
  assert.equal((await rejection(lane.enqueue('work', 'x').result())).cause, original);
});

test('anything may be thrown', async () => {
  const lane = started();
  const odd = { toString: () => { throw new Error('no text'); } };
  for (const thrown of ['text', undefined, null, 5, Symbol('s'), odd]) {
    lane.handle('x', () => Promise.reject(thrown));
    const error = await rejection(lane.submitAsync('work', 'x'));
    assert.equal(error.code, 'COMMAND_ERROR');
    assert.equal(error.cause, thrown);
  }
});

test('a LaneError that is thrown stays what it is', async () => {
  const lane = started({ retryPolicy: { maxRetries: 2, initialDelayMs: 0 } });
  let calls = 0;
  for (const [code, expected] of [['LANE_FULL', 3], ['CANCELLED', 3], ['TIMEOUT', 3], ['COMMAND_ERROR', 3], ['UNRECOVERABLE', 1]]) {
    const thrown = new LaneError(`as ${code}`, code);
    calls = 0;
    lane.handle('x', async () => {
      calls += 1;
      throw thrown;
    });
    assert.equal(await rejection(lane.submitAsync('work', 'x')), thrown, code);
    assert.equal(calls, expected, code);
  }
});

test('an unrecoverable error stops retries', async () => {
  const lane = started({ retryPolicy: { maxRetries: 5, initialDelayMs: 0 } });
  const cause = new Error('404');
  let calls = 0;
  lane.handle('x', async () => {
    calls += 1;
    throw LaneError.unrecoverable('no such account', { cause });
  });
  const error = await rejection(lane.submitAsync('work', 'x'));
  assert.deepEqual([error.code, error.message, error.cause], ['UNRECOVERABLE', 'no such account', cause]);
  assert.equal(calls, 1);
});

test('a failed attempt is tried again, with the same payload', async () => {
  const lane = started({ retryPolicy: { maxRetries: 2, initialDelayMs: 0 } });
  const payload = {};
  const attempts = [];
  lane.handle('x', async (given, { attempt }) => {
    assert.equal(given, payload);
    attempts.push(attempt);
    if (attempt < 3) throw new Error('not yet');
    return attempt;
  });
  assert.equal(await lane.submitAsync('work', 'x', payload), 3);
  assert.deepEqual(attempts, [1, 2, 3]);
});

test('a cancel fires the signal', async () => {
  const lane = started();
  const seen = waiting(lane);
  const handle = lane.enqueue('work', 'wait', null, { id: 'c' });
  await eventually(() => seen.length === 1);
  assert.equal(handle.status, 'running');
  assert.equal(lane.cancel('c'), true);
  assert.equal((await rejection(handle.result())).code, 'CANCELLED');
  assert.equal(handle.status, 'cancelled');
  const [{ signal }] = seen;
  assert.ok(signal.aborted && signal.reason instanceof LaneError);
  assert.equal(signal.reason.code, 'CANCELLED');
});

test('a time limit fires the signal, and the slot is free whatever the handler does', async () => {
  const clock = new ManualClock();
  const lane = started({ timeoutSecs: 20 }, { clock });
  const signals = [];
  lane.handle('hang', (_, { signal }) => {
    signals.push(signal);
    return new Promise(() => {});
  });
  const result = lane.submitAsync('single', 'hang');
  await eventually(() => signals.length === 1);
  clock.advance(20_000);
  assert.equal((await rejection(result)).code, 'TIMEOUT');
  assert.ok(signals[0].aborted);
  assert.equal(signals[0].reason.code, 'TIMEOUT');
  lane.handle('quick', () => 'done');
  assert.equal(await lane.submitAsync('single', 'quick', null, { noTimeout: true }), 'done');
});

test('a result that comes too late is ignored', async () => {
  const clock = new ManualClock();
  const lane = started({ retryPolicy: { maxRetries: 1, initialDelayMs: 0 } }, { clock });
  const finish = [];
  lane.handle('x', () => new Promise((resolve, reject) => finish.push({ resolve, reject })));
  const result = lane.submitAsync('single', 'x', null, { timeoutMs: 20, id: 'late' });
  await eventually(() => finish.length === 1);
  clock.advance(20);
  await eventually(() => finish.length === 2);
  finish[0].resolve('of the first attempt');
  // The first attempt's result is out before the second one's.
  await new Promise(setImmediate);
  finish[1].resolve('of the second attempt');
  assert.equal(await result, 'of the second attempt');
  const other = lane.enqueue('single', 'x', null, { retryPolicy: { maxRetries: 0 } });
  await eventually(() => finish.length === 3);
  other.cancel();
  finish[2].reject(new Error('too late'));
  assert.equal((await rejection(other.result())).code, 'CANCELLED');
});

test('a handler is not called for an attempt that is over before it could be', async () => {
  const lane = started();
  let calls = 0;
  lane.handle('x', () => (calls += 1));
  const handle = lane.enqueue('single', 'x', null, { timeoutMs: 5 });
  const result = rejection(handle.result());
  // This thread is busy until the slot was taken away.
  const end = Date.now() + 30_000;
  while (handle.status !== 'timed_out' && Date.now() < end);
  assert.equal((await result).code, 'TIMEOUT');
  assert.equal(await lane.submitAsync('single', 'x'), 1, 'the first call');
  assert.equal(calls, 1);
});

test('a handler without a sign of life is stopped, one that beats goes on', async () => {
  const lane = started({ progressTimeoutMs: 200 });
  const seen = waiting(lane);
  assert.equal((await rejection(lane.submitAsync('work', 'wait'))).code, 'STALLED');
  assert.equal(seen[0].signal.reason.code, 'STALLED');
  for (const sign of ['heartbeat', 'progress', 'emit']) {
    lane.handle('beats', async (_, ctx) => {
      const end = Date.now() + 600;
      while (Date.now() < end) {
        ctx[sign](1);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      return 'alive';
    });
    assert.equal(await lane.submitAsync('work', 'beats'), 'alive', sign);
  }
});

test('a preempted handler is asked to stop and runs again', async () => {
  const lane = Lane.withLanes(
    [
      { laneId: 'urgent', priority: 0, minConcurrency: 0 },
      { laneId: 'later', priority: 9, minConcurrency: 0, preemptible: true },
    ],
    { maxConcurrency: 1 },
  );
  lane.start();
  const reasons = [];
  let calls = 0;
  lane.handle('long', (_, ctx) => {
    calls += 1;
    if (calls > 1) return ctx.attempt;
    return new Promise(() => ctx.signal.addEventListener('abort', () => reasons.push(ctx.stopReason, ctx.signal.reason.code)));
  });
  lane.handle('quick', () => 'quick');
  const long = lane.enqueue('later', 'long');
  await eventually(() => calls === 1);
  assert.equal(await lane.submitAsync('urgent', 'quick'), 'quick');
  assert.equal(await long, 1, 'the attempt is not counted');
  assert.deepEqual(reasons, ['preempt', 'CANCELLED']);
});

test('the end of the queue fires the signal', async () => {
  const lane = started();
  const seen = waiting(lane);
  const handle = lane.enqueue('work', 'wait');
  const result = rejection(handle.result());
  await eventually(() => seen.length === 1);
  const { stopped } = await lane.shutdownWithin(0);
  assert.deepEqual(stopped.map(({ commandId }) => commandId), [handle.id]);
  assert.equal((await result).code, 'QUEUE_ERROR');
  assert.equal(seen[0].signal.reason.code, 'SHUTDOWN_IN_PROGRESS');
});

test('within its grace a handler ends as it likes', async () => {
  const lane = started({ graceMs: 60_000 });
  lane.handle('completes', (_, ctx) => new Promise((resolve) => ctx.signal.addEventListener('abort', () => resolve('completed'))));
  lane.handle('gives up', (_, ctx) =>
    new Promise((_resolve, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason))),
  );
  const [completes, gives] = ['completes', 'gives up'].map((type) => lane.enqueue('work', type));
  await eventually(() => completes.status === 'running' && gives.status === 'running');
  assert.ok(completes.cancel() && gives.cancel());
  assert.equal(await completes, 'completed');
  assert.equal((await rejection(gives.result())).code, 'CANCELLED');
});

test('whoever looks late sees that it was asked to stop', async () => {
  const lane = started({ graceMs: 60_000 });
  let seen;
  let go;
  const gate = new Promise((resolve) => (go = resolve));
  lane.handle('x', async (_, ctx) => {
    await gate;
    seen = [ctx.stopReason, ctx.signal.aborted, ctx.signal.reason.code];
    return 'completed';
  });
  const handle = lane.enqueue('work', 'x');
  await eventually(() => handle.status === 'running');
  handle.cancel();
  go();
  assert.equal(await handle, 'completed');
  assert.deepEqual(seen, ['cancel', true, 'CANCELLED']);
});

test('a handler that never looked at its signal may look when it is over', async () => {
  const lane = started();
  let ctx;
  lane.handle('x', (_, context) => {
    ctx = context;
    return new Promise(() => {});
  });
  const handle = lane.enqueue('work', 'x', null, { id: 'over' });
  await eventually(() => ctx !== undefined);
  handle.cancel();
  await rejection(handle.result());
  await eventually(() => ctx.stopReason === 'cancel');
  assert.ok(ctx.signal.aborted);
  assert.deepEqual([ctx.id, ctx.laneId], ['over', 'work']);
  // And says nothing more.
  ctx.progress(1);
  ctx.emit(1);
  ctx.heartbeat();
  ctx.settleCost(1);
  assert.equal((await rejection(ctx.submitChild('work', 'x'))).code, 'CANCELLED');
});

test('partial results and progress reach the handle', async () => {
  const lane = started();
  const events = record(lane, ['queue.command.progress']);
  lane.handle('answer', async (_, ctx) => {
    for (const word of ['hello', { you: 1 }, undefined]) {
      ctx.emit(word);
      await null;
    }
    ctx.progress({ done: 0.5 });
    return 'end';
  });
  const handle = lane.enqueue('work', 'answer');
  const chunks = [];
  for await (const chunk of handle) chunks.push(chunk);
  assert.deepEqual(chunks, ['hello', { you: 1 }, null]);
  const detailed = [];
  for await (const { value, index, attempt, missed } of handle.chunks()) detailed.push([value, index, attempt, missed]);
  assert.deepEqual(detailed, [['"hello"', 0, 1, 0], ['{"you":1}', 1, 1, 0], ['null', 2, 1, 0]]);
  const progress = [];
  for await (const value of handle.progress()) progress.push(value);
  assert.deepEqual(progress, [{ done: 0.5 }]);
  assert.equal(await handle, 'end');
  const told = await eventually(() => events.events[0]);
  assert.deepEqual(JSON.parse(told.payload).progress, { done: 0.5 });
});

test('what cannot be told as JSON is the handler\'s error', async () => {
  const lane = started();
  const loop = {};
  loop.self = loop;
  lane.handle('x', (value, ctx) => ctx.progress(value));
  assert.ok((await rejection(lane.submitAsync('work', 'x', loop))).cause instanceof TypeError);
  assert.ok((await rejection(lane.submitAsync('work', 'x', 1n))).cause instanceof TypeError);
});

test('a cost is settled to what it was', async () => {
  const lane = Lane.withLanes([{ laneId: 'work', priority: 1, limiters: ['tokens'] }], {
    limiters: { tokens: { maxCommands: 10, windowMs: 4_000_000 } },
  });
  lane.start();
  lane.handle('x', (actual, ctx) => ctx.settleCost(actual));
  await lane.submitAsync('work', 'x', 1, { cost: 10 });
  // It would wait for more than an hour otherwise.
  await lane.submitAsync('work', 'x', 9, { cost: 9 });
  assert.equal((await rejection(lane.submitAsync('work', 'x', 0.5, { cost: 0 }))).code, 'INVALID_ARGUMENT');
});

test('l2_a_handler_that_awaits_a_child_in_its_own_lane_goes_on', async () => {
  const lane = started();
  const context = [];
  lane.handle('countdown', async (n, ctx) => {
    context.push([ctx.laneId, ctx.metadata.depth]);
    return n === 0 ? ['end'] : [n, ...(await ctx.submitChild('single', 'countdown', n - 1, { metadata: { depth: n } }))];
  });
  assert.deepEqual(await lane.submitAsync('single', 'countdown', 3), [3, 2, 1, 'end']);
  assert.deepEqual(context, [['single', undefined], ['single', 3], ['single', 2], ['single', 1]]);
});

test('the failure of a child is the parent\'s to handle', async () => {
  const lane = started();
  const cause = new Error('of the child');
  lane.handle('child', () => Promise.reject(cause));
  lane.handle('parent', async (where, ctx) => {
    try {
      return await ctx.submitChild(where, 'child');
    } catch (error) {
      return error;
    }
  });
  assert.equal((await lane.submitAsync('single', 'parent', 'single')).cause, cause);
  assert.equal((await lane.submitAsync('single', 'parent', 'nowhere')).code, 'LANE_NOT_FOUND');
  assert.ok((await lane.submitAsync('single', 'parent', 5)) instanceof TypeError);
});

test('AsyncLocalStorage travels from submit to handler', async () => {
  const lane = started();
  const storage = new AsyncLocalStorage();
  lane.handle('inner', () => storage.getStore());
  lane.handle('outer', async (_, ctx) => {
    await null;
    return [storage.getStore(), await ctx.submitChild('single', 'inner')];
  });
  const one = storage.run('one', () => lane.submitAsync('single', 'outer'));
  const two = storage.run('two', () => lane.enqueue('single', 'outer'));
  const three = storage.run('three', () => lane.submitMany('single', [{ commandType: 'outer' }])[0]);
  const four = storage.run('four', () => lane.submitAsync('single', 'outer', null, { delayMs: 5 }));
  const none = lane.submitAsync('single', 'outer');
  assert.deepEqual(await Promise.all([one, two, three, four, none]), [
    ['one', 'one'],
    ['two', 'two'],
    ['three', 'three'],
    ['four', 'four'],
    [undefined, undefined],
  ]);
});

test('what watches asynchronous resources sees each command begin and end', async () => {
  const lane = started();
  lane.handle('x', () => 1);
  const open = new Set();
  let count = 0;
  const hook = createHook({
    init(id, type) {
      if (type !== 'A3sLaneCommand') return;
      count += 1;
      open.add(id);
    },
    destroy: (id) => open.delete(id),
  }).enable();
  try {
    lane.pauseLane('single');
    const text = lane.enqueue('single', 'late', '1');
    lane.handle('late', () => 1);
    lane.resumeLane('single');
    await Promise.all([lane.submitAsync('work', 'x'), lane.enqueue('work', 'x'), text]);
    await rejection(lane.submitAsync('nowhere', 'x'));
    await rejection(lane.submitAsync('nowhere', 'x', null, { priority: 1 }));
    await eventually(() => open.size === 0);
    assert.equal(count, 5);
  } finally {
    hook.disable();
  }
});

test('handles that share a command share its result', async () => {
  const lane = started();
  let calls = 0;
  lane.handle('x', async (payload) => {
    calls += 1;
    await null;
    return { payload, calls };
  });
  const options = { unique: { key: 'only', onConflict: 'join' } };
  lane.pauseLane('work');
  const results = [1, 2].map((n) => lane.submitAsync('work', 'x', { n }, options));
  const handle = lane.enqueue('work', 'x', { n: 3 }, options);
  lane.resumeLane('work');
  const expected = { payload: { n: 1 }, calls: 1 };
  assert.deepEqual(await Promise.all([...results, handle]), [expected, expected, expected]);
  lane.handle('x', () => undefined);
  assert.equal(await lane.submitAsync('work', 'x', null, options), null);
  lane.handle('x', () => 2 ** 64);
  assert.equal((await rejection(lane.submitAsync('work', 'x', null, options))).code, 'INVALID_PAYLOAD');
});

test('a command that came as text is handled, and its result is text', async () => {
  const lane = Lane.withLanes([{ laneId: 'work', priority: 1 }]);
  const handle = lane.enqueue('work', 'x', '{"a":[1,2]}');
  const failing = lane.enqueue('work', 'y', '1');
  lane.handle('x', ({ a }, ctx) => ({ sum: a[0] + a[1], lane: ctx.laneId }));
  lane.handle('y', () => Promise.reject(new Error('no')));
  lane.start();
  assert.deepEqual(JSON.parse(await handle), { lane: 'work', sum: 3 });
  assert.equal((await rejection(failing.result())).message, 'Command execution error: no');
});

test('synchronous calls that would wait for their own thread are refused at once', async () => {
  const lane = started();
  const seen = waiting(lane);
  const blocked = (call, variant) =>
    assert.throws(call, (error) => error instanceof LaneError && error.code === 'WOULD_BLOCK' && error.message.includes(variant));
  blocked(() => lane.submit('work', 'wait'), 'submitAsync()');
  assert.equal(lane.submit('single', 'echo', '1'), '1');
  lane.drain(10_000);
  const handle = lane.enqueue('single', 'wait');
  blocked(() => lane.drain(10_000), 'drainAsync()');
  await eventually(() => seen.length === 1);
  blocked(() => lane.submit('single', 'echo', '1'), 'submitAsync()');
  blocked(() => lane.drain(10_000), 'drainAsync()');
  assert.equal(lane.submit('work', 'echo', '1'), '1', 'another lane has slots');
  lane.setMaxConcurrency(1);
  blocked(() => lane.submit('work', 'echo', '1'), 'submitAsync()');
  lane.setMaxConcurrency(null);
  handle.cancel();
  await rejection(handle.result());
  assert.equal(lane.submit('single', 'echo', '2'), '2');
  lane.drain(10_000);
});

test('wrong arguments are refused', () => {
  const lane = started();
  for (const call of [
    () => lane.handle(5, () => {}),
    () => lane.handle('x'),
    () => lane.handle('x', 'function'),
    () => lane.removeHandler(),
  ]) {
    assert.throws(call, TypeError);
  }
});

test('a lane goes on after a test has put other timers in the place of the global ones', async () => {
  const lane = started();
  lane.handle('x', (payload) => payload);
  const { setImmediate: own } = globalThis;
  globalThis.setImmediate = () => ({});
  try {
    assert.equal(await lane.submitAsync('work', 'x', -1), -1);
  } finally {
    globalThis.setImmediate = own;
  }
  // More than go without a turn of the event loop.
  for (let n = 0; n < 1000; n += 1) assert.equal(await lane.submitAsync('work', 'x', n), n);
});

test('nothing runs in the context of a stranger', async () => {
  const lane = createLane({ configs: [{ laneId: 'work', priority: 1, minConcurrency: 0, maxConcurrency: 9 }] });
  const storage = new AsyncLocalStorage();
  // Came as text, before there was a handler.
  const early = lane.enqueue('work', 'early', '0');
  lane.handle('early', () => storage.getStore() || 'nobody');
  lane.handle('x', () => {});
  const seen = [];
  const waits = (_, { signal }) =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => {
        seen.push(storage.getStore());
        resolve();
      });
      seen.push('begun');
    });
  lane.handle('waits', waits);
  await storage.run('stranger', async () => {
    const submitted = lane.submitAsync('work', 'x');
    lane.start();
    await submitted;
  });
  assert.equal(await early.result(), '"nobody"');
  const handle = storage.run('its own', () => lane.enqueue('work', 'waits', null));
  await eventually(() => seen.length === 1);
  storage.run('stranger', () => handle.cancel());
  await assert.rejects(handle.result(), { code: 'CANCELLED' });
  await eventually(() => seen.length === 2);
  assert.deepEqual(seen, ['begun', 'its own']);
});
