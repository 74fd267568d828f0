'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane } = require('@a3s-lab/lane');
const { submitScripted } = require('@a3s-lab/lane/testing');
const { eventually, program, record } = require('./support.js');

function started(options) {
  const lane = new Lane(options);
  lane.start();
  return lane;
}

test('a command tells its story in order', async () => {
  const lane = started({ dlqSize: 5 });
  const log = record(lane);
  lane.submit('query', 'fine', '1');
  await assert.rejects(submitScripted(lane, 'skill', 'bad', [[{ fail: 'boom' }]]));
  lane.shutdown();
  lane.drain(30000);
  const events = await log.done();
  const [command, other] = events
    .filter((event) => event.key === 'queue.command.started')
    .map((event) => JSON.parse(event.payload).command_id);
  assert.deepEqual(
    events.map((event) => [event.key, JSON.parse(event.payload)]),
    [
      ['queue.command.submitted', { lane_id: 'query' }],
      ['queue.command.started', { lane_id: 'query', command_id: command, command_type: 'fine' }],
      ['queue.command.completed', { lane_id: 'query', command_id: command }],
      ['queue.command.submitted', { lane_id: 'skill' }],
      ['queue.command.started', { lane_id: 'skill', command_id: other, command_type: 'bad' }],
      ['queue.command.dead_lettered', { lane_id: 'skill', command_id: other, command_type: 'bad' }],
      ['queue.command.failed', { lane_id: 'skill', command_id: other, error: 'Command execution error: boom' }],
      ['queue.shutdown.started', null],
      ['queue.shutdown.complete', null],
    ],
  );
  const times = events.map((event) => Date.parse(event.timestamp));
  assert.ok(times.every((time, index) => time >= (times[index - 1] || 0)), times.join(' '));
});

test('a filtered subscription gets its keys only', async () => {
  const lane = started();
  const log = record(lane, ['queue.command.completed', 'queue.shutdown.complete']);
  lane.submit('query', 'echo', '1');
  lane.submit('query', 'echo', '1');
  lane.shutdown();
  await log.done();
  assert.deepEqual(log.keys(), ['queue.command.completed', 'queue.command.completed', 'queue.shutdown.complete']);
});

test('a subscription with no keys gets nothing, and ends', async () => {
  const lane = started();
  const log = record(lane, []);
  lane.submit('query', 'echo', '1');
  lane.shutdown();
  assert.deepEqual(await log.done(), []);
});

test('a subscriber sees what happens after it came', async () => {
  const lane = started();
  lane.submit('query', 'echo', '1');
  const log = record(lane);
  lane.shutdown();
  await log.done();
  assert.deepEqual(log.keys(), ['queue.shutdown.started', 'queue.shutdown.complete']);
});

test('subscribers are independent of each other', async () => {
  const lane = started();
  const [one, two] = [record(lane), record(lane)];
  one.subscription.close();
  lane.submit('query', 'echo', '1');
  lane.shutdown();
  await two.done();
  assert.deepEqual(one.events, []);
  assert.equal(two.events.length, 5);
});

test('close stops the calls at once, also from inside the callback', async () => {
  const lane = started();
  const seen = [];
  const subscription = lane.subscribe((error, event) => {
    seen.push(event.key);
    subscription.close();
    subscription.close();
  });
  const log = record(lane);
  assert.equal(subscription.closed, false);
  for (let n = 0; n < 10; n += 1) lane.submit('query', 'echo', '1');
  lane.shutdown();
  await log.done();
  assert.equal(subscription.closed, true);
  assert.deepEqual(seen, ['queue.command.submitted']);
});

test('shutdown tells its story once', async () => {
  const lane = started();
  const log = record(lane);
  lane.shutdown();
  lane.shutdown();
  lane.drain(30000);
  await log.done();
  assert.deepEqual(log.keys(), ['queue.shutdown.started', 'queue.shutdown.complete']);
});

test('a busy event loop loses nothing that fits into the buffer', async () => {
  const lane = started();
  const log = record(lane, ['queue.command.completed']);
  const count = 5000;
  for (let n = 0; n < count; n += 1) lane.submit('query', 'echo', String(n));
  assert.equal(log.events.length, 0, 'nothing is delivered while JavaScript runs');
  lane.shutdown();
  await log.done();
  assert.deepEqual(new Set(log.keys()), new Set(['queue.command.completed']));
  assert.equal(log.events.length, count);
});

test('l35_a_stream_ends_after_shutdown', async () => {
  const lane = started();
  const log = record(lane);
  const slow = submitScripted(lane, 'query', 'slow', [[{ sleep_ms: 50 }, { return: 1 }]]);
  lane.shutdown();
  assert.equal(log.subscription.closed, false);
  await log.done();
  assert.equal(log.keys().pop(), 'queue.shutdown.complete');
  assert.equal(await slow, 1);
});

test('a subscription that comes after the end is over', async () => {
  const lane = started();
  lane.shutdown();
  lane.drain(30000);
  const log = record(lane);
  assert.deepEqual(await log.done(), []);
});

test('l35_a_stream_ends_with_its_lane', async () => {
  const code = `
    const { Lane } = require('@a3s-lab/lane');
    let subscription;
    (() => {
      const lane = new Lane();
      lane.start();
      lane.submit('query', 'echo', '1');
      subscription = lane.subscribe(() => {});
    })();
    const timer = setInterval(() => {
      global.gc();
      if (!subscription.closed) return;
      clearInterval(timer);
      console.log('closed');
    }, 5);`;
  const { status, stdout, stderr } = await program(code, { args: ['--expose-gc'] });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'closed\n', stderr: '' });
});

test('l35_a_subscriber_that_lags_learns_how_many_events_it_lost', async () => {
  const lane = started();
  const log = record(lane);
  // 15,000 commands are 45,000 events while the event loop is blocked: more than a subscription holds.
  const count = 15000;
  for (let n = 0; n < count; n += 1) lane.submit('query', 'echo', '1');
  lane.shutdown();
  await log.done();
  const lost = log.events
    .filter((event) => event.key === 'queue.events.lagged')
    .reduce((sum, event) => sum + JSON.parse(event.payload).missed, 0);
  const lags = log.keys().filter((key) => key === 'queue.events.lagged').length;
  assert.ok(lost > 0, 'nothing was lost: the buffer is not bounded');
  assert.equal(log.events.length - lags + lost, 3 * count + 2);
  assert.equal(log.keys().pop(), 'queue.shutdown.complete');
});

test('an exception in the callback is an uncaught exception, and the other events still arrive', async () => {
  const code = `
    const { Lane } = require('@a3s-lab/lane');
    const seen = [];
    process.on('uncaughtException', (error) => seen.push(error.message));
    const lane = new Lane();
    lane.start();
    lane.subscribe((error, event) => {
      seen.push(event.key);
      if (event.key === 'queue.command.started') throw new Error('mine');
    });
    lane.submit('query', 'echo', '1');
    lane.shutdown();
    process.on('exit', () => console.log(seen.join(' ')));`;
  const { status, stdout, stderr } = await program(code);
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  assert.equal(
    stdout,
    'queue.command.submitted queue.command.started mine queue.command.completed ' +
      'queue.shutdown.started queue.shutdown.complete\n',
  );
});

test('events arrive while the lane is open', async () => {
  const lane = started();
  const log = record(lane, ['queue.command.completed']);
  lane.submit('query', 'echo', '1');
  await eventually(() => log.events.length === 1, 'the first event came');
  lane.submit('query', 'echo', '1');
  await eventually(() => log.events.length === 2, 'the second event came');
});
