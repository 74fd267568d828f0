'use strict';

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { createLane } = require('@a3s-lab/lane/testing');
const { eventually, one, temporary } = require('./support.js');

function refusal(work) {
  try {
    work();
  } catch (error) {
    return error;
  }
  return assert.fail('nothing was refused');
}

test('what is stored runs after a restart', async () => {
  const directory = temporary();
  const before = one(directory);
  const options = { id: 'a', metadata: { user: 7 }, priority: 3 };
  await before.enqueue('one', 'work', '{"n":1}', options).accepted();
  await before.enqueue('one', 'work', '{"n":2}', { id: 'b' }).accepted();
  const handle = before.enqueue('one', 'work', '{"n":3}', { id: 'c' });
  await handle.accepted();
  assert.deepEqual((await before.shutdownWithin(0)).pending.length, 3);
  await assert.rejects(handle.result(), { code: 'QUEUE_ERROR' });

  const after = one(directory);
  const seen = [];
  after.handle('work', ({ n }, ctx) => {
    seen.push([ctx.id, n, ctx.laneId, ctx.metadata]);
    ctx.emit({ half: n });
    return { n };
  });
  after.pauseLane('one');
  await after.startAsync();
  const found = await after.find('a');
  assert.deepEqual([found.id, found.laneId, found.status, 'then' in found], ['a', 'one', 'pending', false]);
  assert.equal(found.explain().reasons[0].reason, 'lane_paused');
  after.resumeLane('one');
  assert.deepEqual(await found.result(), { n: 1 });
  const chunks = [];
  for await (const chunk of found) chunks.push(chunk);
  assert.deepEqual(chunks, [{ half: 1 }]);
  await after.drainAsync(30_000);
  assert.deepEqual(seen, [
    ['b', 2, 'one', {}],
    ['c', 3, 'one', {}],
    ['a', 1, 'one', { user: 7 }],
  ]);
});

test('start waits until what is stored has entered its lanes', async () => {
  const directory = temporary();
  const before = one(directory);
  const accepted = Array.from({ length: 100 }, (_, n) => before.enqueue('one', 'work', String(n)).accepted());
  await Promise.all(accepted);
  await before.shutdownWithin(0);
  const after = one(directory);
  const seen = [];
  after.handle('work', (n) => seen.push(n));
  after.start();
  assert.equal(after.stats().totalPending + after.stats().totalActive, 100);
  assert.equal(refusal(() => after.drain(1000)).code, 'WOULD_BLOCK');
  await after.drainAsync(30_000);
  assert.deepEqual(seen, Array.from({ length: 100 }, (_, n) => n));
  after.drain(1000);
});

test('commands run in the order of their submission', async () => {
  const lane = one(temporary());
  const seen = [];
  lane.handle('work', (n) => seen.push(n));
  lane.start();
  const numbers = Array.from({ length: 60 }, (_, n) => n);
  for (const n of numbers.slice(0, 20)) lane.enqueue('one', 'work', n);
  lane.submitMany('one', numbers.slice(20, 40).map((payload) => ({ commandType: 'work', payload })));
  await Promise.all(numbers.slice(40).map((n) => lane.submitAsync('one', 'work', n)));
  assert.deepEqual(seen, numbers);
});

test('an accepted command is in the storage, a refused one is told', async () => {
  const lane = one(temporary());
  const handle = lane.enqueue('one', 'work', '1', { id: 'a' });
  assert.equal(await handle.accepted(), undefined);
  assert.equal(refusal(() => lane.enqueue('one', 'work', '1', { id: 'a' })).code, 'DUPLICATE');
  assert.equal((await lane.find('a')).status, 'pending');
  assert.equal(await lane.find('b'), null);
  lane.setLane({ laneId: 'one', priority: 0, maxPending: 1, overflow: 'wait' });
  const late = lane.enqueue('one', 'work', '2');
  assert.equal(late.cancel(), true);
  await assert.rejects(late.accepted(), { code: 'CANCELLED' });
  const other = new Lane();
  await other.enqueue('query', 'work').accepted();
  other.handle('work', () => {});
  for (const accepted of other.submitMany('query', [{ commandType: 'work' }])) await accepted.accepted();
});

test('a payload that cannot be made JSON is refused at the submission', async () => {
  const lane = one(temporary());
  lane.handle('work', () => assert.fail('it runs'));
  lane.start();
  const circular = {};
  circular.self = circular;
  for (const payload of [10n, circular, () => {}, Symbol('s'), 2 ** 65]) {
    assert.equal(refusal(() => lane.enqueue('one', 'work', payload)).code, 'INVALID_PAYLOAD');
    await assert.rejects(lane.submitAsync('one', 'work', payload), { code: 'INVALID_PAYLOAD' });
  }
  const [refused] = lane.submitMany('one', [{ commandType: 'work', payload: 10n }]);
  assert.ok(refused instanceof LaneError);
  assert.equal(refused.code, 'INVALID_PAYLOAD');
  assert.equal(lane.stats().totalPending, 0);
});

test('a handler gets what another process would get', async () => {
  const lane = one(temporary());
  lane.handle('work', (payload, ctx) => {
    if (payload !== null) payload.seen = true;
    return { payload, gone: undefined, at: new Date(0), id: ctx.id };
  });
  lane.start();
  const payload = { at: new Date(0), map: new Map() };
  const expected = { at: '1970-01-01T00:00:00.000Z', map: {}, seen: true };
  const result = await lane.submitAsync('one', 'work', payload, { id: 'a' });
  assert.deepEqual(result, { payload: expected, at: '1970-01-01T00:00:00.000Z', id: 'a' });
  assert.ok(!('seen' in payload), 'it is a copy');
  assert.equal((await lane.submitAsync('one', 'work')).payload, null);
});

test('children of a command are stored too', async () => {
  const lane = one(temporary(), { results: {} });
  lane.handle('parent', (_, ctx) => ctx.submitChild('one', 'child', { n: 1 }, { id: 'child' }));
  lane.handle('child', ({ n }) => n + 1);
  lane.start();
  assert.equal(await lane.submitAsync('one', 'parent'), 2);
  assert.equal(await (await lane.find('child')).result(), 2);
});

test('one lane at a time uses a directory', async () => {
  const directory = temporary();
  const first = one(directory);
  first.start();
  first.start();
  const second = one(directory);
  assert.equal(refusal(() => second.start()).code, 'STORAGE_ERROR');
  await assert.rejects(second.startAsync(), { code: 'STORAGE_ERROR' });
  assert.equal(second.snapshot().started, false);
  await first.shutdownWithin(0);
  await second.startAsync();
  assert.equal(second.snapshot().started, true);
});

test('unclaimed commands enter when they get what they miss', async () => {
  const directory = temporary();
  const before = Lane.withLanes(
    ['one', 'two'].map((laneId) => ({ laneId, priority: 0 })),
    { storage: directory },
  );
  await before.enqueue('one', 'work', '1', { id: 'a' }).accepted();
  await before.enqueue('two', 'work', '2', { id: 'b' }).accepted();
  await before.shutdownWithin(0);
  const lane = one(directory);
  lane.start();
  const unclaimed = async () => (await lane.unclaimed()).map(({ createdAt, ...each }) => each);
  const command = { commandType: 'work', attempts: 0, crashes: 0, message: null };
  assert.deepEqual((await unclaimed()).map(({ reason }) => reason).sort(), ['no_handler', 'no_lane']);
  const seen = [];
  lane.handle('work', (n) => seen.push(n));
  await eventually(() => seen.length === 1, 'the first command runs');
  assert.deepEqual(await unclaimed(), [{ ...command, commandId: 'b', laneId: 'two', reason: 'no_lane' }]);
  lane.setLane({ laneId: 'two', priority: 0 });
  await eventually(() => seen.length === 2, 'the second command runs');
  assert.deepEqual([seen, await lane.unclaimed()], [[1, 2], []]);
  assert.deepEqual(await new Lane().unclaimed(), []);
});

test('results are kept by count and age', async () => {
  const run = async (results) => {
    const lane = one(temporary(), { results });
    lane.handle('work', (n) => n);
    lane.start();
    for (const n of [1, 2, 3]) await lane.submitAsync('one', 'work', n, { id: String(n) });
    return async () => {
      const handles = await Promise.all(['1', '2', '3'].map((id) => lane.find(id)));
      return Promise.all(handles.map((handle) => handle && handle.result()));
    };
  };
  assert.deepEqual(await (await run(undefined))(), [null, null, null]);
  assert.deepEqual(await (await run({}))(), [1, 2, 3]);
  assert.deepEqual(await (await run({ maxCount: 2 }))(), [null, 2, 3]);
  const aged = await run({ maxAgeMs: 1 });
  await eventually(async () => (await aged()).every((result) => result === null), 'all are too old');
});

test('a kept error has its code', async () => {
  const lane = one(temporary(), { results: {} });
  lane.handle('work', () => {
    throw LaneError.unrecoverable('no');
  });
  lane.start();
  await assert.rejects(lane.submitAsync('one', 'work', null, { id: 'a' }), { code: 'UNRECOVERABLE' });
  const found = await lane.find('a');
  assert.equal(found.status, 'failed');
  await assert.rejects(found.result(), { code: 'UNRECOVERABLE' });
});

test('a history is kept by count and age', async () => {
  const run = async (history) => {
    const lane = one(temporary(), { history });
    lane.handle('work', (n) => n);
    lane.start();
    for (const n of [1, 2]) await lane.submitAsync('one', 'work', n, { id: String(n) });
    return async (filter) => (await lane.history(filter)).map(({ event, commandId }) => [event, commandId]);
  };
  const all = [
    ['submitted', '1'],
    ['completed', '1'],
    ['submitted', '2'],
    ['completed', '2'],
  ];
  const told = await run({});
  assert.deepEqual(await told(), all);
  assert.deepEqual(await told({ commandId: '2' }), all.slice(2));
  assert.deepEqual(await told({ laneId: 'two' }), []);
  assert.deepEqual(await told({ after: 1, limit: 2 }), all.slice(1, 3));
  assert.deepEqual(await told({ since: new Date(Date.now() + 3_600_000) }), []);
  assert.deepEqual(await (await run({ maxCount: 2 }))(), all.slice(2));
  assert.deepEqual(await (await run(undefined))(), []);
  const aged = await run({ maxAgeMs: 1 });
  await eventually(async () => (await aged()).length === 0, 'all is too old');
  await assert.rejects(new Lane().history(), { code: 'CONFIG_ERROR' });
});

test('maxDeadLetters bounds the dead letters', async () => {
  for (const [maxDeadLetters, kept] of [[undefined, 3], [2, 2], [0, 0]]) {
    const lane = one(temporary(), { maxDeadLetters });
    lane.handle('work', () => {
      throw new Error('no');
    });
    lane.start();
    for (const n of [1, 2, 3]) await lane.submitAsync('one', 'work', n).catch(() => {});
    assert.equal((await lane.deadLetters.list()).length, kept);
  }
});

test('durability is one of two words', async () => {
  for (const durability of ['full', 'relaxed']) {
    const lane = one(temporary(), { durability });
    lane.start();
    assert.equal(lane.submit('one', 'echo', '1'), '1');
  }
  const error = refusal(() => one(temporary(), { durability: 'total' }));
  assert.equal(error.code, 'CONFIG_ERROR');
  assert.match(error.message, /durability must be one of 'full', 'relaxed' \(got 'total'\)/);
});

test('wrong options are refused with their names', () => {
  const config = (options, text) => {
    const error = refusal(() => new Lane(options));
    assert.equal(error.code, 'CONFIG_ERROR', String(error));
    assert.ok(error.message.includes(text), error.message);
  };
  const storage = temporary();
  config({ storage: '' }, 'storage must not be empty');
  config({ storage, maxCrashes: 0 }, 'maxCrashes must be an integer from 1');
  config({ storage, maxDeadLetters: 1.5 }, 'maxDeadLetters must be an integer from 0');
  config({ storage, results: { maxAgeMs: 0 } }, 'results.maxAgeMs must be an integer from 1');
  config({ storage, results: { maxCount: -1 } }, 'results.maxCount must be an integer from 0');
  config({ storage, history: { maxAgeMs: NaN } }, 'history.maxAgeMs must be an integer from 1');
  for (const name of ['durability', 'maxCrashes', 'results', 'history', 'maxDeadLetters']) {
    const value = { durability: 'full', results: {}, history: {} }[name] || 1;
    config({ [name]: value }, `${name} needs the option storage`);
  }
  const type = (options, text) => {
    const error = refusal(() => new Lane(options));
    assert.ok(error instanceof TypeError && error.message.includes(text), String(error));
  };
  type({ storage: 1 }, 'options.storage must be a string');
  type({ storage, results: true }, 'options.results must be an object');
  type({ storage, results: { count: 1 } }, "options.results has no field 'count'");
  const file = path.join(storage, 'file');
  fs.writeFileSync(file, '');
  const error = refusal(() => new Lane({ storage: file }));
  assert.equal(error.code, 'STORAGE_ERROR');
  assert.match(error.message, /^Storage error: storage: .*file/);
});

test('find needs a storage', async () => {
  await assert.rejects(new Lane().find('a'), { code: 'CONFIG_ERROR', message: /find needs the option storage/ });
});

test('startAsync starts a lane without a storage too', async () => {
  const lane = new Lane();
  const result = lane.submitAsync('query', 'echo', 1);
  assert.equal(await lane.startAsync(), undefined);
  assert.equal(await result, 1);
});

test('lanes of tests may have a storage', async () => {
  const storage = temporary();
  const lane = createLane({ storage, inline: true });
  lane.start();
  assert.equal(lane.enqueue('query', 'echo', '1').status, 'completed');
});

test('one of many that is cancelled before the storage has answered ends once, and for good', async () => {
  const lane = Lane.withLanes([{ laneId: 'one', priority: 0, maxConcurrency: 10, graceMs: 1000 }], { storage: temporary() });
  const seen = [];
  lane.handle('many', (payload) => payload);
  lane.handle('other', (payload) => seen.push(payload));
  await lane.startAsync();
  for (let round = 0; round < 50; round += 1) {
    const commands = Array.from({ length: 20 }, (_, payload) => ({ commandType: 'many', payload }));
    const handles = lane.submitMany('one', commands);
    const result = handles[5].result().catch(({ code }) => code);
    handles[5].cancel();
    const { status } = handles[5];
    // Takes a place that is free.
    await new Promise(setImmediate);
    const other = lane.submitAsync('one', 'other', round);
    // It may run already, and end within its grace.
    const outcome = await result;
    assert.ok([5, 'CANCELLED'].includes(outcome));
    assert.ok(status !== 'cancelled' || outcome === 'CANCELLED', 'what has settled never changes again');
    await other;
    assert.deepEqual(seen, [round]);
    seen.length = 0;
    assert.equal(await handles[19].result(), 19);
  }
  lane.close();
});
