'use strict';

// Metrics and alerts.

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane } = require('@a3s-lab/lane');
const { ManualClock, createLane, drainNow, submitScripted } = require('@a3s-lab/lane/testing');
const { eventually, program } = require('./support.js');

const ONE = [{ laneId: 'my_lane', priority: 0, maxConcurrency: 1, retryPolicy: { maxRetries: 1, initialDelayMs: 0 } }];

test('l27_metrics_count_and_measure_what_happens', async () => {
  const clock = new ManualClock();
  const lane = createLane({ configs: ONE, metrics: true, dlqSize: 1, clock });
  assert.deepEqual(lane.metrics(), { counters: {}, gauges: { 'lane.queue.oldest_wait_ms.my_lane': 0 }, histograms: {} });
  const waits = lane.enqueue('my_lane', 'echo', '1');
  assert.equal(lane.metrics().gauges['lane.queue.depth.my_lane'], 1);
  clock.advance(7);
  lane.start();
  await waits;
  await assert.rejects(submitScripted(lane, 'my_lane', 'fails', [[{ fail: 'no' }]]), { code: 'COMMAND_ERROR' });
  lane.enqueue('my_lane', 'echo', '1', { delayMs: 1 }).cancel();

  const { counters, gauges, histograms } = lane.metrics();
  for (const [name, count] of Object.entries({
    submitted: 3,
    completed: 1,
    failed: 1,
    retried: 1,
    dead_lettered: 1,
    cancelled: 1,
    timeout: undefined,
  })) {
    assert.equal(counters[`lane.commands.${name}`], count, name);
    assert.equal(counters[`lane.commands.${name}.my_lane`], count, name);
  }
  assert.deepEqual([gauges['lane.queue.depth.my_lane'], gauges['lane.queue.active.my_lane']], [0, 0]);
  const { percentiles, ...wait } = histograms['lane.command.wait_time_ms.my_lane'];
  // Three attempts, the first of which has waited.
  assert.deepEqual(wait, { count: 3, sum: 7, min: 0, max: 7, mean: 7 / 3 });
  assert.ok(Math.abs(percentiles.p99 - 7) <= 0.07, JSON.stringify(percentiles));
  assert.deepEqual(Object.keys(percentiles), ['p50', 'p90', 'p95', 'p99']);
  assert.equal(histograms['lane.command.latency_ms'].count, 1);
});

test('without the option there are no metrics', () => {
  assert.equal(new Lane().metrics(), null);
  assert.equal(new Lane({ metrics: false }).metrics(), null);
});

test('l27_a_depth_that_rises_to_a_threshold_raises_an_alert', async () => {
  const alerts = [];
  const callback = (alert) => alerts.push(alert);
  const queueDepth = { warningThreshold: 2, criticalThreshold: 4 };
  const lane = createLane({ configs: ONE, clock: new ManualClock(), alerts: { queueDepth, callback } });
  for (let n = 0; n < 5; n += 1) lane.enqueue('my_lane', 'echo');
  assert.deepEqual(alerts, [], 'callbacks run when the event loop turns');
  await eventually(() => alerts.length === 2);
  const common = { laneId: 'my_lane', missed: 0 };
  assert.deepEqual(alerts, [
    { ...common, level: 'warning', message: 'Queue depth warning: 2 (threshold: 2)', currentValue: 2, threshold: 2 },
    { ...common, level: 'critical', message: 'Queue depth critical: 4 (threshold: 4)', currentValue: 4, threshold: 4 },
  ]);
  lane.start();
  await drainNow(lane);
  lane.pauseLane('my_lane');
  for (let n = 0; n < 2; n += 1) lane.enqueue('my_lane', 'echo');
  await eventually(() => alerts.length === 3);
  assert.equal(alerts[2].level, 'warning', 'it had fallen in between');
});

test('l27_a_command_that_is_too_slow_raises_an_alert', async () => {
  const alerts = [];
  const callback = (alert) => alerts.push(alert);
  const clock = new ManualClock();
  const lane = createLane({ clock, alerts: { latency: { warningThresholdMs: 5, criticalThresholdMs: 10.5 }, callback } });
  lane.start();
  for (const ms of [4, 5, 20]) {
    // With a handler, the attempt lasts as long as the clock says.
    lane.handle('takes', () => clock.advance(ms));
    await lane.submitAsync('query', 'takes');
  }
  await eventually(() => alerts.length === 2);
  const figures = alerts.map(({ level, laneId, currentValue, threshold }) => ({ level, laneId, currentValue, threshold }));
  assert.deepEqual(figures, [
    { level: 'warning', laneId: 'query', currentValue: 5, threshold: 5 },
    { level: 'critical', laneId: 'query', currentValue: 20, threshold: 10.5 },
  ]);
});

test('wrong thresholds are refused', () => {
  const callback = () => {};
  for (const [alerts, text] of [
    [{ callback }, 'alerts must have a threshold of queueDepth or latency (got none)'],
    [{ callback, queueDepth: {} }, 'alerts must have a threshold of queueDepth or latency (got none)'],
    [
      { callback, queueDepth: { warningThreshold: 0 } },
      'alerts.queueDepth.warningThreshold must be an integer from 1 to 4294967295 (got 0)',
    ],
    [
      { callback, queueDepth: { criticalThreshold: 1.5 } },
      'alerts.queueDepth.criticalThreshold must be an integer from 1 to 4294967295 (got 1.5)',
    ],
    [
      { callback, latency: { warningThresholdMs: NaN } },
      'alerts.latency.warningThresholdMs must be a number above 0 and up to 4294967295 (got NaN)',
    ],
    [
      { callback, latency: { criticalThresholdMs: -1 } },
      'alerts.latency.criticalThresholdMs must be a number above 0 and up to 4294967295 (got -1)',
    ],
  ]) {
    assert.throws(() => new Lane({ alerts }), { name: 'LaneError', code: 'CONFIG_ERROR', message: `Configuration error: ${text}` });
  }
  for (const [alerts, text] of [
    [{ latency: { warningThresholdMs: 1 } }, 'options.alerts.callback must be a function (got undefined)'],
    [{ callback, depth: {} }, "options.alerts has no field 'depth'; its fields are callback, queueDepth, latency"],
    [
      { callback, queueDepth: { warning: 1 } },
      "options.alerts.queueDepth has no field 'warning'; its fields are warningThreshold, criticalThreshold",
    ],
    [
      { callback, latency: { warningThreshold: 1 } },
      "options.alerts.latency has no field 'warningThreshold'; its fields are warningThresholdMs, criticalThresholdMs",
    ],
    [{ callback, latency: { criticalThresholdMs: '1' } }, 'options.alerts.latency.criticalThresholdMs must be a number (got string)'],
  ]) {
    assert.throws(() => new Lane({ alerts }), { name: 'TypeError', message: text });
  }
});

const DEEP = `
  const { Lane } = require('@a3s-lab/lane');
  const queueDepth = { warningThreshold: 1, criticalThreshold: 2 };`;

test('what was raised before the process ends is told, and nothing keeps the process', async () => {
  const { status, stdout, stderr } = await program(`${DEEP}
    const lane = new Lane({ alerts: { queueDepth, callback: ({ level }) => console.log(level, lane instanceof Lane) } });
    lane.enqueue('query', 'echo');
    lane.enqueue('query', 'echo');`);
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'warning true\ncritical true\n', stderr: '' });
});

test('an exception in the callback is an uncaught exception, and the other alerts still arrive', async () => {
  const { status, stdout, stderr } = await program(`${DEEP}
    process.on('uncaughtException', ({ message }) => console.log('uncaught', message));
    const callback = ({ level }) => {
      console.log(level);
      if (level === 'warning') throw new Error('oh');
    };
    const lane = new Lane({ alerts: { queueDepth, callback } });
    lane.enqueue('query', 'echo');
    lane.enqueue('query', 'echo');`);
  const lines = stdout.trimEnd().split('\n').sort();
  assert.deepEqual({ status, lines, stderr }, { status: 0, lines: ['critical', 'uncaught oh', 'warning'], stderr: '' });
});

test('a lane with alerts is garbage when nobody holds it', async () => {
  const { status, stdout, stderr } = await program(
    `${DEEP}
    let gone = 0;
    const registry = new FinalizationRegistry(() => (gone += 1));
    for (let n = 0; n < 20; n += 1) {
      const lane = new Lane({ alerts: { queueDepth, callback: () => lane.pauseLane('query') } });
      registry.register(lane, n);
    }
    const look = (turns) => {
      globalThis.gc();
      if (gone === 20 || turns === 0) console.log(gone);
      else setTimeout(look, 5, turns - 1);
    };
    look(200);`,
    { args: ['--expose-gc'] },
  );
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '20\n', stderr: '' });
});
