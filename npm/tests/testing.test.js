'use strict';

// The tools for tests of programs that use lanes. What all languages share is in tests/scenarios/testing.json.

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane } = require('@a3s-lab/lane');
const testing = require('@a3s-lab/lane/testing');
const { eventually } = require('./support.js');

const { ManualClock, SubmissionLog, createLane, drainNow, enqueueScripted, submitScripted } = testing;

const DAY_MS = 86_400_000;

function ids(lane) {
  return lane.stats().lanes.map(({ laneId }) => laneId);
}

test('createLane takes what Lane takes', async () => {
  assert.deepEqual(ids(createLane()), ids(new Lane()));
  const lane = createLane({
    configs: [{ laneId: 'one', priority: 0, limiters: ['tokens'] }],
    maxConcurrency: 15,
    dlqSize: 1,
    limiters: { tokens: { maxCommands: 1, windowMs: DAY_MS } },
  });
  assert.ok(lane instanceof Lane);
  assert.deepEqual(ids(lane), ['one']);
  assert.equal(lane.snapshot().totalLimit, 15);
  lane.start();
  await assert.rejects(submitScripted(lane, 'one', 'fails', [[{ fail: 'no' }]]), { code: 'COMMAND_ERROR' });
  assert.equal(lane.stats().deadLetterCount, 1);
  const waits = lane.enqueue('one', 't', '1');
  lane.setLimiter('tokens', { maxCommands: 1000, windowMs: 1000 });
  assert.equal(await waits, '1');
});

test('createLane refuses wrong arguments', () => {
  for (const [options, text] of [
    [{ clock: 'noon' }, 'options.clock must be a ManualClock (got string)'],
    [{ clock: new SubmissionLog() }, 'options.clock must be a ManualClock (got object)'],
    [{ inline: 1 }, 'options.inline must be a boolean (got number)'],
    [{ submissionLog: [] }, 'options.submissionLog must be a SubmissionLog (got an array)'],
    [{ configs: {} }, 'configs must be an array (got object)'],
    [{ dlqSize: '1' }, 'options.dlqSize must be a number (got string)'],
    [
      { speed: 1 },
      "options has no field 'speed'; its fields are configs, clock, inline, submissionLog, dlqSize, maxConcurrency, limiters, metrics, alerts, storage, durability, maxCrashes, results, history, maxDeadLetters",
    ],
  ]) {
    assert.throws(() => createLane(options), { name: 'TypeError', message: text });
  }
  assert.throws(() => new Lane({ clock: new ManualClock() }), /options has no field 'clock'/);
});

test('a manual clock stands still until it is moved', async () => {
  const clock = new ManualClock();
  const lane = createLane({ clock });
  lane.start();
  const handle = lane.enqueue('query', 'tomorrow', '1', { delayMs: DAY_MS });
  clock.advance(DAY_MS - 1);
  await assert.rejects(lane.drainAsync(50), { code: 'TIMEOUT' });
  assert.deepEqual([handle.status, clock.elapsedMs], ['delayed', DAY_MS - 1]);
  clock.advance(1);
  assert.equal(await handle, '1');
  assert.equal(clock.elapsedMs, DAY_MS);
});

test('a manual clock refuses what is no time', () => {
  const clock = new ManualClock();
  for (const ms of [-1, NaN, 1e14]) assert.throws(() => clock.advance(ms), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => clock.advance('1'), { name: 'TypeError', message: 'ms must be a number (got string)' });
  assert.equal(clock.elapsedMs, 0);
});

test('lanes may share a clock', async () => {
  const clock = new ManualClock();
  const lanes = [createLane({ clock }), createLane({ clock })];
  lanes.forEach((lane) => lane.start());
  const handles = lanes.map((lane) => lane.enqueue('query', 't', '1', { delayMs: DAY_MS }));
  clock.advance(DAY_MS);
  assert.deepEqual(await Promise.all(handles), ['1', '1']);
});

test('inline has run what was submitted', async () => {
  // Long enough to be seen running when the submission does not wait for it.
  const script = [[{ sleep_ms: 300 }]];
  const config = { laneId: 'one', priority: 0, maxConcurrency: 1 };
  for (const overflow of [undefined, 'wait']) {
    const maxPending = overflow === undefined ? undefined : 5;
    const lane = createLane({ configs: [{ ...config, maxPending, overflow }], inline: true });
    lane.start();
    assert.equal(enqueueScripted(lane, 'one', 't', script).status, 'completed');
    const result = submitScripted(lane, 'one', 't', script);
    assert.deepEqual([lane.stats().totalPending, lane.stats().totalActive], [0, 0]);
    assert.equal(await result, null);
    const many = testing.submitManyScripted(lane, 'one', [{ commandType: 't', script }, { commandType: 't', script }]);
    assert.deepEqual(many.map(({ status }) => status), ['completed', 'completed']);
    assert.equal(lane.submit('one', 't', '1'), '1');
  }
  const lane = createLane({ inline: false });
  lane.start();
  assert.notEqual(enqueueScripted(lane, 'query', 't', script).status, 'completed');
});

test('inline has run the handlers that end at once', async () => {
  const lane = createLane({ inline: true, configs: [{ laneId: 'one', priority: 0, maxConcurrency: 1 }] });
  const calls = [];
  lane.handle('plain', (payload, ctx) => {
    calls.push(payload);
    if (payload === 'more') {
      const inner = lane.enqueue('one', 'plain', 'inner');
      assert.equal(inner.status, 'pending', 'it waits for the slot of this one');
    }
    return ctx.attempt;
  });
  assert.equal(lane.enqueue('one', 'plain', 'early').status, 'pending');
  assert.deepEqual(calls, [], 'the lane was not started');
  lane.start();
  assert.equal(lane.enqueue('one', 'plain', 'a').status, 'completed');
  assert.deepEqual(calls.splice(0), ['early', 'a']);
  assert.equal(lane.enqueue('one', 'plain', 'b', { priority: 1 }).status, 'completed');
  const results = [lane.submitAsync('one', 'plain', 'c')];
  const many = lane.submitMany('one', ['d', 'e'].map((payload) => ({ commandType: 'plain', payload })));
  assert.deepEqual(calls.splice(0), ['b', 'c', 'd', 'e']);
  assert.deepEqual(many.map(({ status }) => status), ['completed', 'completed']);
  assert.equal(lane.enqueue('one', 'plain', 'more').status, 'completed');
  assert.deepEqual(calls.splice(0), ['more', 'inner']);
  assert.deepEqual([lane.stats().totalPending, lane.stats().totalActive], [0, 0]);
  assert.deepEqual(await Promise.all([...results, ...many]), [1, 1, 1]);
});

test('inline runs handlers and other commands in turns', () => {
  const lane = createLane({ inline: true, configs: [{ laneId: 'one', priority: 0, maxConcurrency: 1 }] });
  const calls = [];
  lane.handle('plain', (payload) => calls.push(payload));
  const script = [[{ sleep_ms: 20 }]];
  const handles = [1, 2].flatMap((n) => [
    enqueueScripted(lane, 'one', 'native', script),
    lane.enqueue('one', 'plain', n),
    lane.enqueue('one', 'echo', String(n)),
  ]);
  lane.start();
  assert.equal(lane.enqueue('one', 'echo').status, 'completed');
  assert.deepEqual(handles.map(({ status }) => status), handles.map(() => 'completed'));
  assert.deepEqual(calls, [1, 2]);
});

test('inline begins handlers that do not end at once', async () => {
  const lane = createLane({ inline: true });
  lane.start();
  const story = [];
  lane.handle('slow', async (payload) => {
    story.push(`begins ${payload}`);
    await null;
    story.push(`ends ${payload}`);
    return payload;
  });
  const handle = lane.enqueue('query', 'slow', 1);
  const other = lane.enqueue('query', 'echo', '2');
  story.push('submitted');
  assert.equal(handle.status, 'running');
  assert.deepEqual([await handle, await other], [1, '2']);
  assert.deepEqual(story, ['begins 1', 'submitted', 'ends 1']);
});

test('inline retries what fails at once, and rejects', async () => {
  const retryPolicy = { maxRetries: 2, initialDelayMs: 0 };
  const lane = createLane({ inline: true, clock: new ManualClock(), configs: [{ laneId: 'one', priority: 0, retryPolicy }] });
  lane.start();
  let attempts = 0;
  lane.handle('fails', () => {
    attempts += 1;
    throw new Error('no');
  });
  const result = lane.submitAsync('one', 'fails');
  assert.equal(attempts, 3);
  await assert.rejects(result, ({ code, cause }) => code === 'COMMAND_ERROR' && cause.message === 'no');
});

test('handlers go by the manual clock', async () => {
  const clock = new ManualClock();
  const retryPolicy = { maxRetries: 1, initialDelayMs: DAY_MS, maxDelayMs: DAY_MS };
  const lane = createLane({ clock, configs: [{ laneId: 'one', priority: 0, timeoutSecs: 60, retryPolicy, progressTimeoutMs: 50_000 }] });
  lane.start();
  const seen = [];
  lane.handle('waits', async (payload, ctx) => {
    const left = ctx.timeLeftMs;
    clock.advance(10_000);
    seen.push([ctx.attempt, left, ctx.timeLeftMs]);
    if (ctx.attempt === 2) return clock.elapsedMs;
    ctx.heartbeat();
    clock.advance(49_000);
    ctx.heartbeat();
    assert.equal(ctx.signal.aborted, false);
    ctx.signal.addEventListener('abort', () => seen.push(ctx.signal.reason.code));
    clock.advance(1_000);
    return new Promise(() => {});
  });
  const result = lane.submitAsync('one', 'waits');
  assert.equal(await drainNow(lane), 0);
  assert.equal(await result, 60_000 + DAY_MS + 10_000);
  assert.deepEqual(seen, [[1, 60_000, 50_000], 'TIMEOUT', [2, 60_000, 50_000]]);
});

test('a time limit of the manual clock frees the slot of a handler that hears nothing', async () => {
  const clock = new ManualClock();
  const lane = createLane({ clock, configs: [{ laneId: 'one', priority: 0, maxConcurrency: 1, timeoutSecs: 60 }] });
  lane.start();
  lane.handle('endless', () => new Promise(() => {}));
  const handle = lane.enqueue('one', 'endless');
  const next = lane.enqueue('one', 'echo', '1');
  await eventually(() => handle.status === 'running');
  clock.advance(60_000);
  await assert.rejects(handle.result(), { code: 'TIMEOUT' });
  assert.equal(await next, '1');
});

test('drainNow runs handlers that come later, with the payloads they were given', async () => {
  const lane = createLane({ clock: new ManualClock(), submissionLog: new SubmissionLog() });
  const seen = [];
  lane.handle('remind', async (payload) => {
    await new Promise(setImmediate);
    seen.push(payload);
    if (payload.days < 3) lane.enqueue('query', 'remind', { days: payload.days + 1 }, { delayMs: DAY_MS });
  });
  lane.start();
  lane.enqueue('query', 'remind', { days: 1 }, { delayMs: DAY_MS });
  assert.equal(await drainNow(lane), 0);
  assert.deepEqual(seen, [{ days: 1 }, { days: 2 }, { days: 3 }]);
});

test('drainNow runs everything', async () => {
  const lane = createLane({ clock: new ManualClock() });
  await assert.rejects(drainNow(lane), { code: 'NOT_STARTED', message: /drainNow/ });
  const handles = [0, 1, 2].map((days) => lane.enqueue('query', 't', '1', { delayMs: days * DAY_MS }));
  lane.start();
  lane.pauseLane('prompt');
  const held = lane.enqueue('prompt', 't');
  assert.equal(await drainNow(lane), 1);
  assert.deepEqual(handles.map(({ status }) => status), ['completed', 'completed', 'completed']);
  assert.equal(held.status, 'pending');
  await assert.rejects(drainNow({}), { name: 'TypeError', message: 'not a Lane' });
});

test('a submission log holds what was accepted', () => {
  const submissionLog = new SubmissionLog();
  const lane = createLane({ configs: [{ laneId: 'api', priority: 0, maxPending: 3 }], submissionLog });
  assert.deepEqual(submissionLog.submitted(), []);
  lane.enqueue('api', 'fetch', '{"page":1}');
  lane.enqueue('api', 'fetch', '{"page":2}');
  lane.submitMany('api', [{ commandType: 'store' }, { commandType: 'full' }]);

  const first = { laneId: 'api', commandType: 'fetch', payload: { page: 1 } };
  assert.deepEqual(submissionLog.assertSubmitted('api', 'fetch'), first);
  assert.equal(submissionLog.assertSubmitted('api', 'store').payload, null);
  assert.deepEqual(
    submissionLog.submitted().map(({ commandType }) => commandType),
    ['fetch', 'fetch', 'store'],
  );
  submissionLog.assertNotSubmitted('api', 'full');
  submissionLog.assertNotSubmitted('other', 'fetch');
});

test('a submission log says what is different', () => {
  const submissionLog = new SubmissionLog();
  const lane = createLane({ submissionLog });
  lane.enqueue('query', 'fetch', '1');
  lane.enqueue('skill', 'store');
  assert.throws(() => submissionLog.assertSubmitted('query', 'store'), {
    name: 'AssertionError',
    message: `no 'store' was submitted to 'query', only [["query","fetch"],["skill","store"]]`,
  });
  assert.throws(() => submissionLog.assertNotSubmitted('query', 'fetch'), {
    name: 'AssertionError',
    message: '{"laneId":"query","commandType":"fetch","payload":1} was submitted',
  });
  assert.throws(() => submissionLog.assertSubmitted(null, 't'), { name: 'TypeError' });
});

test('import and require give the same tools', async () => {
  const imported = await import('@a3s-lab/lane/testing');
  assert.deepEqual(Object.keys(imported).sort(), [...Object.keys(testing), 'default'].sort());
  for (const [name, tool] of Object.entries(testing)) assert.equal(imported[name], tool);
});

test('drainNow counts what was submitted right before', async () => {
  const lane = createLane({ clock: new ManualClock() });
  lane.start();
  lane.handle('x', () => 1);
  lane.pauseLane('query');
  lane.submitAsync('query', 'x').catch(() => {});
  assert.equal(await drainNow(lane), 1);
  lane.shutdownWithin(0);
});

test('what was submitted before the clock is moved was submitted before', async () => {
  const clock = new ManualClock();
  const lane = createLane({ clock });
  lane.handle('x', () => 1);
  lane.submitAsync('query', 'x').catch(() => {});
  clock.advance(5);
  assert.deepEqual(lane.snapshot().commands.map(({ ageMs }) => ageMs), [5]);
  await lane.shutdownWithin(0);
});
