'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane } = require('@a3s-lab/lane');
const { enqueueScripted } = require('@a3s-lab/lane/testing');
const { eventually, record } = require('./support.js');

const ENDLESS = [[{ sleep_ms: 600000 }]];
const QUICK = { maxCommands: 1000, windowMs: 1 };
const hour = 3600000;

function started(configs, options) {
  const lane = configs === undefined ? new Lane(options) : Lane.withLanes(configs, options);
  lane.start();
  return lane;
}

function reasons(handle) {
  return handle.explain().reasons.map(({ reason }) => reason);
}

test('a paused lane and a paused key start nothing until they are resumed', async () => {
  const lane = started();
  const log = record(lane, ['queue.lane.paused', 'queue.lane.resumed']);
  lane.pauseLane('query');
  lane.pauseKey('k');
  const [waits, other] = [lane.enqueue('query', 'x', '1'), lane.enqueue('skill', 'y', '2', { key: 'k' })];
  assert.deepEqual(waits.explain().reasons, [{ reason: 'lane_paused' }]);
  assert.deepEqual(other.explain().reasons, [{ reason: 'key_paused', key: 'k' }]);
  assert.deepEqual(lane.snapshot().pausedKeys, ['k']);
  assert.equal(lane.snapshot().lanes.find(({ id }) => id === 'query').paused, true);
  lane.resumeLane('query');
  assert.equal(await waits, '1');
  lane.resumeKey('k');
  assert.equal(await other, '2');
  await eventually(() => log.events.length === 2, 'both were told');
  assert.deepEqual(log.keys(), ['queue.lane.paused', 'queue.lane.resumed']);
});

test('the commands of a lane and of a key are cancelled together', async () => {
  const lane = new Lane();
  const handles = [
    lane.enqueue('query', 'a', '1'),
    lane.enqueue('query', 'b', '2', { key: 'k' }),
    lane.enqueue('skill', 'c', '3', { key: 'k' }),
    lane.enqueue('skill', 'd', '4'),
  ];
  assert.equal(lane.cancelKey('k'), 2);
  assert.equal(lane.cancelKey('k'), 0);
  assert.equal(lane.cancelLane('query'), 1);
  assert.deepEqual(handles.map(({ status }) => status), ['cancelled', 'cancelled', 'cancelled', 'pending']);
});

test('setLane adds lanes and changes them, and removeLane takes them out', async () => {
  const lane = started([{ laneId: 'a', priority: 5, maxConcurrency: 1 }]);
  lane.setLane({ laneId: 'late', priority: 1, minConcurrency: 0, maxConcurrency: 2, maxPending: 1 });
  const ids = () => lane.stats().lanes.map(({ laneId }) => laneId);
  assert.deepEqual(ids(), ['late', 'a']);
  assert.equal(await lane.enqueue('late', 'x', '1'), '1');
  lane.pauseLane('late');
  const kept = lane.enqueue('late', 'x', '1');
  assert.throws(() => lane.enqueue('late', 'x'), { name: 'LaneError', code: 'LANE_FULL' });
  assert.throws(() => lane.removeLane('late'), { name: 'LaneError', code: 'QUEUE_ERROR' });
  // What is left out is at its default again.
  lane.setLane({ laneId: 'late', priority: 9 });
  assert.deepEqual(ids(), ['a', 'late']);
  assert.equal(lane.stats().lanes[1].maxConcurrency, 10);
  assert.equal(lane.enqueue('late', 'x').cancel(), true);
  assert.equal(kept.cancel(), true);
  lane.removeLane('late');
  assert.deepEqual(ids(), ['a']);
  assert.throws(() => lane.enqueue('late', 'x'), { name: 'LaneError', code: 'LANE_NOT_FOUND' });
});

test('a lane that setLane tells to wait blocks nobody', async () => {
  const lane = new Lane();
  const config = { laneId: 'query', priority: 2, maxPending: 1 };
  lane.setLane({ ...config, overflow: 'wait' });
  const handles = ['1', '2'].map((payload) => lane.enqueue('query', 'x', payload));
  assert.equal(lane.stats().totalPending, 1);
  lane.start();
  assert.deepEqual(await Promise.all(handles), ['1', '2']);
  lane.setLane(config);
  lane.pauseLane('query');
  lane.enqueue('query', 'x');
  assert.throws(() => lane.enqueue('query', 'x'), { name: 'LaneError', code: 'LANE_FULL' });
});

test('maxConcurrency is for all lanes together, and can be changed', async () => {
  const lanes = ['a', 'b'].map((laneId) => ({ laneId, priority: 1, minConcurrency: 0 }));
  for (const [options, change] of [[{ maxConcurrency: 1 }, () => {}], [{}, (lane) => lane.setMaxConcurrency(1)]]) {
    const lane = started(lanes, options);
    change(lane);
    const [first, second] = ['a', 'b'].map((laneId) => enqueueScripted(lane, laneId, laneId, ENDLESS));
    await eventually(() => lane.stats().totalActive === 1, 'one runs');
    assert.deepEqual(reasons(second), ['total_reached']);
    assert.equal(lane.snapshot().totalLimit, 1);
    lane.setMaxConcurrency(null);
    await eventually(() => second.status === 'running', 'both run');
    assert.equal(lane.snapshot().totalLimit, null);
    first.cancel();
    second.cancel();
  }
});

test('limiters are shared by their names, and can be changed', async () => {
  const limiters = { calls: { maxCommands: 1, windowMs: hour, countingCommands: true } };
  const lane = started(undefined, { limiters });
  for (const laneId of ['one', 'two']) lane.setLane({ laneId, priority: 1, limiters: ['calls'] });
  assert.equal(await lane.enqueue('one', 'x', '1', { cost: 0 }), '1');
  const refused = lane.enqueue('two', 'y', '2');
  // There is no reason before the lane's turn has come.
  const { reason, until } = await eventually(() => refused.explain().reasons[0], 'the limiter was asked');
  assert.equal(reason, 'rate_limited');
  assert.ok(Date.parse(until) > Date.now() + hour / 2, until);
  lane.setLimiter('calls', { ...QUICK, countingCommands: true });
  assert.equal(await refused, '2');
  assert.throws(() => lane.setLimiter('nope', QUICK), { name: 'LaneError', code: 'LIMITER_NOT_FOUND' });
});

test('a snapshot is the whole state', () => {
  const lane = Lane.withLanes([{ laneId: 'a', priority: 3, minConcurrency: 2, maxConcurrency: 4 }], { maxConcurrency: 7 });
  lane.enqueue('a', 'x', '1', { id: 'mine', key: 'k' });
  const { takenAt, commands, ...state } = lane.snapshot();
  assert.ok(Math.abs(Date.parse(takenAt) - Date.now()) < 60000, takenAt);
  const [{ ageMs, ...command }, ...more] = commands;
  assert.ok(ageMs >= 0);
  assert.deepEqual(more, []);
  assert.deepEqual(command, {
    key: 'k',
    commandId: 'mine',
    laneId: 'a',
    status: 'pending',
    attempts: 0,
    reasons: [{ reason: 'not_started' }],
  });
  assert.deepEqual(state, {
    started: false,
    shuttingDown: false,
    totalLimit: 7,
    pending: 1,
    active: 0,
    pausedKeys: [],
    lanes: [
      { id: 'a', priority: 3, effectivePriority: 3, pending: 1, active: 0, min: 2, max: 4, paused: false },
    ],
  });
});

test('shutdownWithin lets nothing more start, from the call on, and says what was left', async () => {
  const lane = started([{ laneId: 'a', priority: 0, maxConcurrency: 1 }]);
  const runs = enqueueScripted(lane, 'a', 'long', ENDLESS, { id: 'runs' });
  await eventually(() => runs.status === 'running', 'it runs');
  const waits = lane.enqueue('a', 'short', '1', { id: 'waits' });
  const ending = lane.shutdownWithin(0.5);
  assert.throws(() => lane.enqueue('a', 'x'), { name: 'LaneError', code: 'SHUTDOWN_IN_PROGRESS' });
  assert.deepEqual(await ending, {
    stopped: [{ commandId: 'runs', commandType: 'long', laneId: 'a', attempts: 0 }],
    pending: [{ commandId: 'waits', commandType: 'short', laneId: 'a', attempts: 0 }],
    isClean: false,
  });
  for (const handle of [runs, waits]) await assert.rejects(handle.result(), { name: 'LaneError', code: 'QUEUE_ERROR' });
});

test('shutdownWithin waits for what runs, and ends the subscriptions', async () => {
  const lane = started();
  const log = record(lane);
  const runs = enqueueScripted(lane, 'query', 'x', [[{ sleep_ms: 50 }, { return: 1 }]]);
  await eventually(() => runs.status === 'running', 'it runs');
  assert.deepEqual(await lane.shutdownWithin(30000), { stopped: [], pending: [], isClean: true });
  assert.equal(await runs, '1');
  await log.done();
  assert.equal(log.keys().pop(), 'queue.shutdown.complete');
});

test('a preempted command has its grace', async () => {
  const lane = started(
    [
      { laneId: 'high', priority: 0, minConcurrency: 0 },
      { laneId: 'low', priority: 9, minConcurrency: 0, preemptible: true, graceMs: hour },
    ],
    { maxConcurrency: 1 },
  );
  const low = enqueueScripted(lane, 'low', 'low', [[{ await_cancel: {} }, { return: 'in time' }]]);
  await eventually(() => low.status === 'running', 'it runs');
  assert.equal(await lane.enqueue('high', 'high', '1'), '1');
  assert.equal(await low, '"in time"');
});

test('a boost shows as the effective priority', () => {
  for (const [steps, expected] of [[[[hour, 3]], 6], [undefined, 9]]) {
    const lane = Lane.withLanes([{ laneId: 'a', priority: 9, priorityBoost: { deadlineMs: hour, steps } }]);
    lane.enqueue('a', 'x');
    const [{ priority, effectivePriority }] = lane.snapshot().lanes;
    assert.deepEqual({ priority, effectivePriority }, { priority: 9, effectivePriority: expected });
  }
});
