'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { submitScripted } = require('@a3s-lab/lane/testing');
const { eventually, program, record } = require('./support.js');

function started(configs, options) {
  const lane = configs === undefined ? new Lane(options) : Lane.withLanes(configs, options);
  lane.start();
  return lane;
}

test('the default lanes and their limits', () => {
  const { lanes, ...totals } = new Lane().stats();
  assert.deepEqual(totals, { totalPending: 0, totalActive: 0, deadLetterCount: 0 });
  assert.deepEqual(
    lanes.map(({ laneId, minConcurrency, maxConcurrency }) => [laneId, minConcurrency, maxConcurrency]),
    [
      ['system', 1, 5],
      ['control', 1, 3],
      ['query', 1, 10],
      ['session', 1, 5],
      ['skill', 1, 3],
      ['prompt', 1, 2],
    ],
  );
});

test('lanes are listed most urgent first, and limits default to 1 and 10', () => {
  const lane = Lane.withLanes([
    { laneId: 'low', priority: 255 },
    { laneId: 'high', priority: 0, minConcurrency: 0, maxConcurrency: 3 },
    { laneId: 'also-high', priority: 0, minConcurrency: 2 },
  ]);
  assert.deepEqual(lane.stats().lanes, [
    { laneId: 'high', pending: 0, active: 0, minConcurrency: 0, maxConcurrency: 3 },
    { laneId: 'also-high', pending: 0, active: 0, minConcurrency: 2, maxConcurrency: 10 },
    { laneId: 'low', pending: 0, active: 0, minConcurrency: 1, maxConcurrency: 10 },
  ]);
});

test('undefined and null leave an optional setting out', () => {
  const left = { minConcurrency: undefined, maxConcurrency: null, timeoutSecs: undefined, retryPolicy: null };
  const lane = started([{ laneId: 'a', priority: 1, pressureThreshold: null, ...left }], { dlqSize: undefined });
  assert.equal(lane.submit('a', 'echo', null), 'null');
  assert.equal(lane.submit('a', 'echo'), 'null');
});

test('submit returns its payload', () => {
  const lane = started();
  const payload = { text: 'ä€😀"\\', list: [1, -2.5, true, null], nested: { a: {} } };
  assert.deepEqual(JSON.parse(lane.submit('query', 'echo', JSON.stringify(payload))), payload);
});

test('start is idempotent', () => {
  const lane = started();
  lane.start();
  assert.equal(lane.submit('query', 'echo', '1'), '1');
});

test('a lane runs as many commands at once as it may, and stats count them', async () => {
  const code = `
    const { Lane } = require('@a3s-lab/lane');
    const { submitScripted } = require('@a3s-lab/lane/testing');
    const lane = Lane.withLanes([{ laneId: 'a', priority: 0, maxConcurrency: 2 }]);
    lane.start();
    for (const name of ['x', 'y', 'z']) submitScripted(lane, 'a', name, [[{ sleep_ms: 600000 }]]);
    (function look() {
      const { totalActive, totalPending, lanes: [{ active, pending }] } = lane.stats();
      if (totalActive < 2) return setTimeout(look, 1);
      console.log(totalActive, totalPending, active, pending);
      process.exit(0);
    })();`;
  const { status, stdout, stderr } = await program(code);
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '2 1 2 1\n', stderr: '' });
});

test('retryPolicy decides how often a command runs', async () => {
  const retryPolicy = { maxRetries: 2, initialDelayMs: 1, maxDelayMs: 1, multiplier: 1 };
  const lane = started([{ laneId: 'a', priority: 0, retryPolicy }]);
  const log = record(lane, ['queue.command.started']);
  const script = [[{ fail: 'first' }], [{ fail: 'second' }], [{ return: 3 }]];
  assert.equal(await submitScripted(lane, 'a', 'flaky', script), 3);
  lane.shutdown();
  await lane.drainAsync(30000);
  assert.equal((await log.done()).length, 3);
});

/**
 * How often a command that always fails starts under `retryPolicy`: until it has failed for good, or until nothing more
 * happened for a while after the start number `patience`.
 */
async function attempts(retryPolicy, patience = Infinity) {
  const code = `
    const { Lane } = require('@a3s-lab/lane');
    const { submitScripted } = require('@a3s-lab/lane/testing');
    const lane = Lane.withLanes([{ laneId: 'a', priority: 0, retryPolicy: ${JSON.stringify(retryPolicy)} }]);
    lane.start();
    let starts = 0;
    const end = () => { console.log(starts); process.exit(0); };
    lane.subscribe((error, { key }) => {
      if (key === 'queue.command.started') starts += 1;
      if (key === 'queue.command.failed') end();
      if (starts === ${patience}) setTimeout(end, 500);
    });
    submitScripted(lane, 'a', 'bad', [[{ fail: 'boom' }]]).catch(() => {});`;
  const { status, stdout, stderr } = await program(code);
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  return Number(stdout);
}

test('each delay of retryPolicy counts', async () => {
  const hour = 3600000;
  const quick = { maxRetries: 3, initialDelayMs: 1, maxDelayMs: 1 };
  assert.equal(await attempts(quick), 4);
  assert.equal(await attempts({ ...quick, multiplier: hour }), 4);
  assert.equal(await attempts({ ...quick, initialDelayMs: hour, maxDelayMs: hour }, 1), 1);
  assert.equal(await attempts({ ...quick, maxDelayMs: hour, multiplier: hour }, 2), 2);
});

test('a fraction of a second is a time limit', async () => {
  const lane = started([{ laneId: 'a', priority: 0, timeoutSecs: 0.01 }]);
  const slow = submitScripted(lane, 'a', 'slow', [[{ sleep_ms: 600000 }]]);
  await assert.rejects(slow, { name: 'LaneError', code: 'TIMEOUT', message: 'Command timed out after 10ms' });
});

test('pressureThreshold announces pressure', async () => {
  const lane = Lane.withLanes([{ laneId: 'a', priority: 0, maxConcurrency: 1, pressureThreshold: 2 }]);
  const log = record(lane, ['queue.lane.pressure', 'queue.lane.idle']);
  const results = [1, 2, 3].map((n) => submitScripted(lane, 'a', `c${n}`, [[{ return: n }]]));
  lane.start();
  assert.deepEqual(await Promise.all(results), [1, 2, 3]);
  await eventually(() => log.events.length === 2, 'pressure came and went');
  assert.deepEqual(log.keys(), ['queue.lane.pressure', 'queue.lane.idle']);
});

test('dlqSize bounds the dead letters', async () => {
  for (const [options, kept] of [[{ dlqSize: 2 }, 2], [{}, 0]]) {
    const lane = started(undefined, options);
    for (let n = 0; n < 3; n += 1) {
      await assert.rejects(submitScripted(lane, 'query', 'bad', [[{ fail: 'boom' }]]), { code: 'COMMAND_ERROR' });
    }
    assert.equal(lane.stats().deadLetterCount, kept);
  }
});

test('withLanes takes the same options as the constructor', async () => {
  const lane = started([{ laneId: 'a', priority: 0 }], { dlqSize: 1 });
  await assert.rejects(submitScripted(lane, 'a', 'bad', [[{ fail: 'boom' }]]));
  assert.equal(lane.stats().deadLetterCount, 1);
});

test('the more urgent lane goes first', async () => {
  const lane = Lane.withLanes([
    { laneId: 'low', priority: 9, maxConcurrency: 1 },
    { laneId: 'high', priority: 1, maxConcurrency: 1 },
  ]);
  const log = record(lane, ['queue.command.started']);
  const low = submitScripted(lane, 'low', 'low', [[{ return: 0 }]]);
  const high = submitScripted(lane, 'high', 'high', [[{ return: 0 }]]);
  lane.start();
  await Promise.all([low, high]);
  await eventually(() => log.events.length === 2, 'both started');
  assert.deepEqual(
    log.events.map((event) => JSON.parse(event.payload).command_type),
    ['high', 'low'],
  );
});

test('a failed drain leaves the work alone, and drainAsync waits for it', async () => {
  const lane = new Lane();
  const result = submitScripted(lane, 'query', 'late', [[{ return: 'kept' }]]);
  assert.throws(() => lane.drain(0), { name: 'LaneError', code: 'TIMEOUT' });
  assert.throws(() => lane.drain(1.5), { name: 'LaneError', code: 'TIMEOUT' });
  await assert.rejects(lane.drainAsync(0.5), { name: 'LaneError', code: 'TIMEOUT' });
  lane.start();
  await lane.drainAsync(30000);
  const { totalActive, totalPending } = lane.stats();
  assert.deepEqual({ totalActive, totalPending }, { totalActive: 0, totalPending: 0 });
  assert.equal(await result, 'kept');
});

test('drainAsync returns nothing', async () => {
  assert.equal(await new Lane().drainAsync(1000), undefined);
});

test('work outlives its Lane object', async () => {
  const code = `
    const { Lane } = require('@a3s-lab/lane');
    const { submitScripted } = require('@a3s-lab/lane/testing');
    (() => {
      const lane = new Lane();
      lane.start();
      submitScripted(lane, 'query', 'slow', [[{ sleep_ms: 300 }, { return: 'done' }]]).then(console.log);
    })();
    const collect = setInterval(() => global.gc(), 10);
    setTimeout(() => clearInterval(collect), 200);`;
  const { status, stdout, stderr } = await program(code, { args: ['--expose-gc'] });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'done\n', stderr: '' });
});

test('a subclass is made by its own withLanes', () => {
  class Mine extends Lane {}
  const lane = Mine.withLanes([{ laneId: 'a', priority: 0 }]);
  assert.ok(lane instanceof Mine);
  assert.equal(lane.stats().lanes.length, 1);
});

test('l37_many_lanes_share_their_threads', { skip: process.platform !== 'linux' }, () => {
  const threads = () => require('fs').readdirSync('/proc/self/task').length;
  const use = (lane) => lane.submit('query', 'echo', '1');
  const first = started();
  use(first);
  const before = threads();
  const lanes = Array.from({ length: 50 }, () => started());
  lanes.forEach(use);
  assert.equal(threads(), before);
});

test('l37_submit_before_start_is_an_error', () => {
  const lane = new Lane();
  assert.throws(() => lane.submit('query', 'echo', '1'), (error) => {
    assert.ok(error instanceof LaneError);
    assert.equal(error.code, 'NOT_STARTED');
    assert.match(error.message, /start\(\)/);
    return true;
  });
  assert.equal(lane.stats().totalPending, 0);
  lane.start();
  assert.equal(lane.submit('query', 'echo', '1'), '1');
});

// The synchronous submit and drain block the event loop, as their documentation says; these do not.
test('l37_drain_async_and_scripted_commands_leave_the_event_loop_alone', async () => {
  const lane = new Lane();
  const result = submitScripted(lane, 'query', 'late', [[{ return: 'done' }]]);
  const drained = lane.drainAsync(30000);
  // Nothing can end before the start, and the start needs two hundred turns of the event loop.
  let ticks = 0;
  const timer = setInterval(() => {
    ticks += 1;
    if (ticks < 200) return;
    clearInterval(timer);
    lane.start();
  }, 1);
  await drained;
  assert.equal(await result, 'done');
  assert.equal(ticks, 200);
});
