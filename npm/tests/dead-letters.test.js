'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { record, temporary } = require('./support.js');

/** Where letters can be: in memory and in a storage. */
const PLACES = { memory: () => ({ dlqSize: 100 }), storage: () => ({ storage: temporary() }) };

/** A lane with two lanes, whose commands fail unless they are told better. */
function failing(options) {
  const lane = Lane.withLanes(
    ['a', 'b'].map((laneId) => ({ laneId, priority: 0 })),
    options,
  );
  function thrower(payload) {
    if (payload !== null && payload.ok) return { done: payload.ok };
    throw payload !== null && payload.plain ? 'a text' : new Error('no');
  }
  lane.handle('work', async (payload) => thrower(payload));
  lane.handle('other', () => {
    throw LaneError.unrecoverable('never');
  });
  lane.start();
  return lane;
}

async function fails(lane, laneId, commandType, payload, options) {
  await assert.rejects(lane.submitAsync(laneId, commandType, payload, options), LaneError);
}

for (const [place, options] of Object.entries(PLACES)) {
  test(`a letter has all that its command had (${place})`, async () => {
    const lane = failing(options());
    const before = Date.now();
    await fails(lane, 'a', 'work', { to: ['x'] }, {
      id: 'm',
      priority: 2,
      key: 'k',
      timeoutMs: 1500,
      progressTimeoutMs: 2500,
      retryPolicy: { maxRetries: 1, initialDelayMs: 1, maxDelayMs: 2, multiplier: 1.5 },
      jitter: 'equal',
      unique: { key: 'u', onConflict: 'join' },
      cost: 3,
      metadata: { some_key: { inner_key: 1 } },
      preemptible: false,
    });
    const [letter, ...others] = await lane.deadLetters.list();
    assert.deepEqual(others, []);
    const { traceback, failures, failedAt, ...rest } = letter;
    assert.deepEqual(rest, {
      commandId: 'm',
      commandType: 'work',
      laneId: 'a',
      payload: { to: ['x'] },
      options: {
        priority: 2,
        key: 'k',
        timeoutMs: 1500,
        progressTimeoutMs: 2500,
        retryPolicy: { maxRetries: 1, initialDelayMs: 1, maxDelayMs: 2, multiplier: 1.5 },
        jitter: 'equal',
        cost: 3,
        preemptible: false,
        metadata: { some_key: { inner_key: 1 } },
        unique: { key: 'u', onConflict: 'join' },
      },
      error: 'Command execution error: no',
      code: 'COMMAND_ERROR',
      attempts: 2,
    });
    assert.match(traceback, /^Error: no\n {4}at thrower \(.*dead-letters\.test\.js:\d+:\d+\)/);
    assert.ok(Date.parse(failedAt) >= before - 1 && Date.parse(failedAt) <= Date.now() + 1);
    assert.deepEqual(
      failures.map(({ startedAt, failedAt: at, ...each }) => (assert.ok(startedAt <= at), each)),
      [1, 2].map((attempt) => ({ attempt, error: rest.error, code: rest.code, traceback: failures[attempt - 1].traceback })),
    );
    assert.equal(failures[1].traceback, traceback);
  });

  test(`an absent payload, a null and no limit are told apart (${place})`, async () => {
    const lane = failing(options());
    await fails(lane, 'a', 'work', null, { noTimeout: true });
    await fails(lane, 'a', 'work', { plain: true });
    const [nothing, text] = await lane.deadLetters.list();
    assert.equal(nothing.payload, null);
    assert.deepEqual([nothing.options.noTimeout, text.options.noTimeout], [true, undefined]);
    assert.deepEqual([text.error, 'traceback' in text], ['Command execution error: a text', false]);
  });

  test(`filters mean some letters (${place})`, async () => {
    const lane = failing(options());
    await fails(lane, 'a', 'work', 1, { id: '1' });
    await fails(lane, 'b', 'work', 2, { id: '2' });
    await fails(lane, 'b', 'other', 3, { id: '3' });
    const { deadLetters } = lane;
    assert.equal(deadLetters, lane.deadLetters);
    const ids = async (filter) => (await deadLetters.list(filter)).map(({ commandId }) => commandId).join('');
    assert.equal(await ids(), '123');
    assert.equal(await ids({ ids: ['3', '1', '9'] }), '13');
    assert.equal(await ids({ ids: [] }), '');
    assert.equal(await ids({ laneId: 'b' }), '23');
    assert.equal(await ids({ commandType: 'work' }), '12');
    assert.equal(await ids({ code: 'UNRECOVERABLE' }), '3');
    assert.equal(await ids({ limit: 2 }), '12');
    const hour = 3_600_000;
    assert.equal(await ids({ since: new Date(Date.now() - hour), until: new Date(Date.now() + hour) }), '123');
    assert.equal(await ids({ since: new Date(Date.now() + hour) }), '');
    assert.equal(await ids({ until: new Date(Date.now() - hour) }), '');
    assert.equal(await deadLetters.discard({ ids: [] }), 0);
    assert.equal(await deadLetters.discard({ laneId: 'b', limit: 1 }), 1);
    assert.equal(await ids(), '13');
    assert.equal(await deadLetters.discard(), 2);
    assert.equal(lane.stats().deadLetterCount, 0);
  });

  test(`letters are retried with the old payload or another one (${place})`, async () => {
    const lane = failing(options());
    const { events } = record(lane, ['queue.dead_letter.retried', 'queue.dead_letter.discarded']);
    const { deadLetters } = lane;
    await fails(lane, 'a', 'work', { n: 1 }, { id: '1' });
    const again = await deadLetters.retry('1');
    assert.deepEqual([again.id, again.laneId, 'then' in again], ['1', 'a', false]);
    await assert.rejects(again.result(), { code: 'COMMAND_ERROR' });
    assert.equal((await deadLetters.list())[0].attempts, 1);
    const better = await deadLetters.retry('1', { payload: { ok: 5 } });
    assert.deepEqual(await better.result(), { done: 5 });
    assert.deepEqual([better.status, await deadLetters.list()], ['completed', []]);
    await assert.rejects(deadLetters.retry('1'), { code: 'COMMAND_NOT_FOUND' });
    await fails(lane, 'a', 'work', { n: 1 }, { id: '2' });
    const none = await deadLetters.retry('2', { payload: null });
    await assert.rejects(none.result(), { code: 'COMMAND_ERROR' });
    assert.equal((await deadLetters.list())[0].payload, null);
    await deadLetters.discard();
    lane.shutdown();
    await lane.drainAsync(30_000);
    const told = events.map(({ key, payload }) => [key.split('.')[2], JSON.parse(payload).command_id]);
    assert.deepEqual(told, [['retried', '1'], ['retried', '1'], ['retried', '2'], ['discarded', '2']]);
    assert.deepEqual(JSON.parse(events[0].payload), { lane_id: 'a', command_id: '1', command_type: 'work' });
  });

  test(`many letters are retried at once (${place})`, async () => {
    const lane = failing(options());
    const { deadLetters } = lane;
    for (const id of ['1', '2', '3']) await fails(lane, 'a', 'work', { n: id }, { id });
    await fails(lane, 'b', 'work', { n: 4 }, { id: '4' });
    lane.handle('work', ({ n }) => ({ mended: n }));
    lane.removeLane('b');
    const retried = await deadLetters.retryAll({ ids: ['1', '2', '4'] });
    assert.deepEqual(retried.map(({ id, handle, error }) => [id, handle !== undefined, error && error.code]), [
      ['1', true, undefined],
      ['2', true, undefined],
      ['4', false, 'LANE_NOT_FOUND'],
    ]);
    assert.deepEqual(await Promise.all(retried.slice(0, 2).map(({ handle }) => handle.result())), [
      { mended: '1' },
      { mended: '2' },
    ]);
    assert.ok(retried[2].error instanceof LaneError);
    assert.deepEqual((await deadLetters.list()).map(({ commandId }) => commandId), ['3', '4']);
  });

  test(`letters are exported and imported (${place})`, async () => {
    const lane = failing(options());
    const { deadLetters } = lane;
    for (const id of ['1', '2']) await fails(lane, 'a', 'work', { n: id }, { id, timeoutMs: 2000 });
    const letters = await deadLetters.list();
    const text = await deadLetters.export();
    assert.equal(text.trim().split('\n').length, 2);
    assert.equal((await deadLetters.export({ ids: ['2'] })).trim().split('\n').length, 1);
    assert.equal(await deadLetters.import(text), 0, 'they are there');
    const other = failing(options());
    assert.equal(await other.deadLetters.import(text), 2);
    assert.deepEqual(await other.deadLetters.list(), letters);
    await assert.rejects(other.deadLetters.import('nonsense'), { code: 'CONFIG_ERROR', message: /line 1/ });
  });
}

test('with dlqSize, handlers get their payload itself, and what is no JSON has a letter without payload', async () => {
  const lane = failing({ dlqSize: 10 });
  const seen = [];
  lane.handle('work', (payload) => {
    seen.push(payload);
    throw new Error('no');
  });
  const payloads = [new Map([[1, 2]]), 10n, () => {}, 2 ** 65, undefined];
  for (const payload of payloads) await fails(lane, 'a', 'work', payload);
  for (const answer of lane.submitMany('a', payloads.map((payload) => ({ commandType: 'work', payload })))) {
    await assert.rejects(answer.result(), { code: 'COMMAND_ERROR' });
  }
  payloads.forEach((payload, index) => assert.ok(seen[index] === payload && seen[index + 5] === payload));
  const letters = await lane.deadLetters.list();
  const told = letters.map((letter) => ('payload' in letter ? letter.payload : 'absent'));
  const expected = [{}, 'absent', 'absent', 'absent', null];
  assert.deepEqual(told, [...expected, ...expected]);
  const unique = { commandType: 'work', payload: 10n, options: { unique: 'u' } };
  assert.throws(() => lane.submitMany('a', [unique]), { code: 'INVALID_PAYLOAD' });
  const { commandId } = letters[1];
  await assert.rejects(lane.deadLetters.retry(commandId), { code: 'CONFIG_ERROR' });
  lane.handle('work', (n) => n);
  assert.equal(await (await lane.deadLetters.retry(commandId, { payload: 7 })).result(), 7);
});

test('with dlqSize, results are handed over as they are', async () => {
  const lane = new Lane({ dlqSize: 1 });
  const result = new Map();
  lane.handle('work', () => result);
  lane.start();
  assert.equal(await lane.submitAsync('query', 'work', { a: 1 }), result);
  const payload = { a: 1 };
  assert.equal(await lane.submitAsync('query', 'nobody', payload), payload);
});

test('without a place for letters there are none', async () => {
  const { deadLetters } = new Lane();
  const calls = [
    () => deadLetters.list(),
    () => deadLetters.retry('a'),
    () => deadLetters.retryAll(),
    () => deadLetters.discard(),
    () => deadLetters.export(),
    () => deadLetters.import(''),
  ];
  const message = 'dead letters need the option storage or dlqSize';
  for (const call of calls) await assert.rejects(call(), { code: 'CONFIG_ERROR', message });
});

test('wrong arguments are refused with their names', async () => {
  const { deadLetters } = new Lane({ dlqSize: 1 });
  const type = (work, message) => assert.rejects(work, { name: 'TypeError', message });
  await type(deadLetters.list({ colour: 'red' }), /^filter has no field 'colour'/);
  await type(deadLetters.list({ ids: 'a' }), /^filter\.ids must be an array/);
  await type(deadLetters.list({ since: 1 }), /^filter\.since must be a Date/);
  await type(deadLetters.retry(1), /^commandId must be a string/);
  await type(deadLetters.retry('a', { colour: 'red' }), /^options has no field 'colour'/);
  await type(deadLetters.import(1), /^lines must be a string/);
  const range = (work, message) => assert.rejects(work, { code: 'INVALID_ARGUMENT', message });
  await range(deadLetters.list({ limit: -1 }), /^filter\.limit must be an integer/);
  await range(deadLetters.list({ until: new Date(NaN) }), /^filter\.until must be a valid Date/);
  await assert.rejects(deadLetters.retry('a', { payload: 10n }), { code: 'INVALID_PAYLOAD' });
});
