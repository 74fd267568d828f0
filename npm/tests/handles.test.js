'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { inspect } = require('util');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { enqueueScripted, submitManyScripted } = require('@a3s-lab/lane/testing');
const { eventually, program, record } = require('./support.js');

const ENDLESS = [[{ sleep_ms: 600000 }]];
const cancelled = { name: 'LaneError', code: 'CANCELLED' };

/** A queue of one lane with one slot. */
function one(change, options) {
  return Lane.withLanes([{ laneId: 'a', priority: 0, maxConcurrency: 1, ...change }], options);
}

/** A lane of one slot with room for one waiting command; more wait outside. */
function waiting() {
  return one({ maxPending: 1, overflow: 'wait' });
}

async function collect(reports) {
  const all = [];
  for await (const report of reports) all.push(report);
  return all;
}

test('enqueue does not wait, and the result comes as often as it is asked for', async () => {
  const lane = one();
  const handle = lane.enqueue('a', 'echo', '{"n":9007199254740993}');
  assert.equal(handle.laneId, 'a');
  assert.equal(handle.status, 'pending');
  lane.start();
  assert.deepEqual(await Promise.all([handle.result(), handle.result()]), Array(2).fill('{"n":9007199254740993}'));
  assert.equal(await handle, '{"n":9007199254740993}');
  assert.equal(handle.status, 'completed');
  assert.equal(await lane.enqueue('a', 'echo'), 'null');
});

test('a handle can be awaited wherever a promise can', async () => {
  const lane = one();
  lane.start();
  const handles = ['1', '2'].map((payload) => lane.enqueue('a', 'echo', payload));
  assert.deepEqual(await Promise.all(handles), ['1', '2']);
  const through = async () => handles[0];
  assert.equal(await through(), '1');
  const failed = enqueueScripted(lane, 'a', 'bad', [[{ fail: 'boom' }]]);
  await assert.rejects(async () => failed, { name: 'LaneError', code: 'COMMAND_ERROR', message: /boom/ });
  assert.equal(await failed.then(null, (error) => error.code), 'COMMAND_ERROR');
  assert.equal(failed.status, 'failed');
});

test('cancel takes a waiting command out, by its handle or by its id', async () => {
  const lane = one();
  const [first, second] = [lane.enqueue('a', 'x', '1'), lane.enqueue('a', 'y', '2', { id: 'mine' })];
  assert.equal(first.cancel(), true);
  assert.equal(first.cancel(), false);
  assert.equal(lane.cancel('mine'), true);
  assert.equal(lane.cancel('mine'), false);
  assert.equal(lane.cancel('unknown'), false);
  await assert.rejects(first.result(), cancelled);
  await assert.rejects(second.result(), cancelled);
  assert.deepEqual([first.status, second.status], ['cancelled', 'cancelled']);
  assert.equal(lane.stats().totalPending, 0);
});

test('submit takes options too', () => {
  const lane = one({ timeoutSecs: 10 });
  assert.throws(() => lane.submit('a', 'echo', '1', { id: 'x' }), { name: 'LaneError', code: 'NOT_STARTED' });
  lane.enqueue('a', 'later', null, { id: 'taken', delayMs: 600000 });
  lane.start();
  assert.equal(lane.submit('a', 'echo', '1', { priority: 1, noTimeout: true }), '1');
  assert.equal(lane.submit('a', 'echo', '2', null), '2');
  assert.throws(() => lane.submit('a', 'echo', '1', { id: 'taken' }), { name: 'LaneError', code: 'DUPLICATE' });
});

test('runAt is a time of the calendar', async () => {
  const lane = one();
  lane.start();
  assert.equal(await lane.enqueue('a', 'past', '1', { runAt: new Date(0) }), '1');
  const runAt = new Date(Date.now() + 3600000);
  const handle = lane.enqueue('a', 'later', '1', { runAt });
  const { status, reasons } = handle.explain();
  assert.equal(status, 'delayed');
  assert.equal(reasons[0].reason, 'delayed');
  assert.ok(Math.abs(Date.parse(reasons[0].until) - runAt) < 60000, reasons[0].until);
});

test('unique may be a name alone', () => {
  const lane = one();
  lane.enqueue('a', 'x', null, { unique: 'report' });
  assert.throws(() => lane.enqueue('a', 'x', null, { unique: 'report' }), { name: 'LaneError', code: 'DUPLICATE' });
  const joined = lane.enqueue('a', 'x', null, { unique: { key: 'report', onConflict: 'join' } });
  assert.equal(lane.stats().totalPending, 1);
  assert.equal(joined.status, 'pending');
});

test('metadata goes to the body of the command', async () => {
  const lane = one();
  lane.start();
  const metadata = { user: { id: 7 }, tags: ['a', null], text: 'ä' };
  const handle = enqueueScripted(lane, 'a', 'x', [[{ return_metadata: {} }]], { metadata });
  assert.deepEqual(JSON.parse(await handle), metadata);
});

test('explain says what a command waits for', async () => {
  const lane = one();
  const log = record(lane, ['queue.command.started']);
  const first = enqueueScripted(lane, 'a', 'x', ENDLESS, { id: 'first' });
  const second = lane.enqueue('a', 'y', '1', { id: 'second', key: 'k' });
  lane.start();
  await eventually(() => log.events.length === 1, 'the first command runs');
  const { ageMs, ...explanation } = second.explain();
  assert.ok(ageMs >= 0);
  assert.deepEqual(explanation, {
    commandId: 'second',
    laneId: 'a',
    status: 'pending',
    attempts: 0,
    reasons: [{ reason: 'lane_full', max: 1, running: ['first'] }],
  });
  assert.equal(lane.explain('first').status, 'running');
  assert.equal(lane.explain('nobody'), null);
  first.cancel();
  assert.equal(await second, '1');
  assert.equal(second.explain(), null);
});

test('a command that a full lane has no room for waits outside, and blocks nobody', async () => {
  const lane = waiting();
  const order = record(lane, ['queue.command.started']);
  const handles = ['x', 'y', 'z'].map((type) => lane.enqueue('a', type, JSON.stringify(type)));
  const [inside, outside, last] = handles;
  assert.deepEqual(handles.map(({ status }) => status), ['pending', 'pending', 'pending']);
  assert.equal(new Set(handles.map(({ id }) => id)).size, 3);
  assert.deepEqual(inside.explain().reasons, [{ reason: 'not_started' }]);
  assert.equal(outside.explain(), null);
  assert.equal(lane.stats().totalPending, 1);
  lane.start();
  assert.deepEqual(await Promise.all(handles), ['"x"', '"y"', '"z"']);
  assert.equal(last.status, 'completed');
  await eventually(() => order.events.length === 3, 'all three started');
  assert.deepEqual(order.events.map(({ payload }) => JSON.parse(payload).command_type), ['x', 'y', 'z']);
  assert.deepEqual(order.events.map(({ payload }) => JSON.parse(payload).command_id), handles.map(({ id }) => id));
});

test('a command that waits outside can be cancelled, by its handle only', async () => {
  const lane = waiting();
  const inside = lane.enqueue('a', 'x', '1');
  const outside = lane.enqueue('a', 'y', '2', { id: 'mine' });
  const behind = lane.enqueue('a', 'z', '3');
  assert.equal(outside.id, 'mine');
  assert.equal(lane.cancel('mine'), false);
  const [chunks, progress, result] = [collect(outside.chunks()), collect(outside.progress()), outside.result()];
  assert.equal(outside.cancel(), true);
  assert.equal(outside.cancel(), false);
  await assert.rejects(result, { ...cancelled, message: /before lane 'a' had room/ });
  assert.deepEqual([await chunks, await progress], [[], []]);
  assert.deepEqual(await collect(outside.chunks()), []);
  assert.equal(outside.status, 'cancelled');
  lane.start();
  assert.deepEqual(await Promise.all([inside, behind]), ['1', '3']);
});

test('a command that waits outside is refused by a shutdown', async () => {
  const lane = waiting();
  lane.enqueue('a', 'x', '1');
  const outside = lane.enqueue('a', 'y', '2');
  lane.shutdown();
  await assert.rejects(outside.result(), { name: 'LaneError', code: 'SHUTDOWN_IN_PROGRESS' });
  assert.equal(outside.status, 'failed');
  assert.equal(outside.cancel(), false);
});

test('what a command that waited outside reports arrives', async () => {
  const lane = waiting();
  lane.enqueue('a', 'x', '1');
  const script = [[{ progress: 1 }, { emit: 'part' }, { return: 2 }]];
  const outside = enqueueScripted(lane, 'a', 'y', script);
  const [chunks, progress] = [collect(outside.chunks()), collect(outside.progress())];
  lane.start();
  assert.deepEqual((await chunks).map(({ value }) => value), ['"part"']);
  assert.deepEqual(await progress, ['1']);
  assert.equal(await outside, '2');
});

test('submitMany answers each command by itself', async () => {
  const lane = one({ maxPending: 3 });
  const answers = lane.submitMany('a', [
    { commandType: 'first', payload: '1', options: { priority: 5 } },
    { commandType: 'bad json', payload: '{' },
    { commandType: 'bad option', options: { priority: 0.5 } },
    { commandType: 'second' },
    { commandType: 'third', payload: null, options: null },
    { commandType: 'too many' },
  ]);
  const code = (answer) => (answer instanceof LaneError ? answer.code : answer.status);
  const expected = ['pending', 'INVALID_PAYLOAD', 'INVALID_ARGUMENT', 'pending', 'pending', 'LANE_FULL'];
  assert.deepEqual(answers.map(code), expected);
  const log = record(lane, ['queue.command.started']);
  lane.start();
  assert.equal(await answers[0], '1');
  await eventually(() => log.events.length === 3, 'all three started');
  const types = log.events.map(({ payload }) => JSON.parse(payload).command_type);
  assert.deepEqual(types, ['second', 'third', 'first']);
  assert.deepEqual(lane.submitMany('a', []), []);
  assert.deepEqual(lane.submitMany('nope', [{ commandType: 'x' }]).map(code), ['LANE_NOT_FOUND']);
});

test('submitMany blocks nobody either', async () => {
  const lane = waiting();
  const answers = lane.submitMany('a', ['1', '2', '3'].map((payload) => ({ commandType: 'x', payload })));
  assert.deepEqual(answers.map(({ status }) => status), ['pending', 'pending', 'pending']);
  lane.start();
  assert.deepEqual(await Promise.all(answers), ['1', '2', '3']);
});

test('submitMany with something that is no command submits nothing', () => {
  const lane = one();
  const commands = [{ commandType: 'x' }, { commandType: 1 }];
  assert.throws(() => lane.submitMany('a', commands), {
    name: 'TypeError',
    message: 'commands[1].commandType must be a string (got number)',
  });
  assert.throws(() => lane.submitMany('a', [{ commandType: 'x', option: {} }]), { name: 'TypeError', message: /'option'/ });
  assert.equal(lane.stats().totalPending, 0);
});

test('chunks come from the first one on, however often they are read, and end with the command', async () => {
  const lane = one();
  lane.start();
  const script = [[{ emit: 'half' }, { fail: 'once' }], [{ emit: { a: [1] } }, { emit: null }]];
  const retryPolicy = { maxRetries: 1, initialDelayMs: 1 };
  const answer = enqueueScripted(lane, 'a', 'x', script, { retryPolicy });
  assert.equal(await answer, 'null');
  const expected = [
    { attempt: 1, index: 0, missed: 0, value: '"half"' },
    { attempt: 2, index: 1, missed: 0, value: '{"a":[1]}' },
    { attempt: 2, index: 2, missed: 0, value: 'null' },
  ];
  assert.deepEqual(await collect(answer.chunks()), expected);
  assert.deepEqual(await collect(answer.chunks()), expected);
});

test('a reader that comes too late learns how many chunks it missed', async () => {
  const lane = one();
  lane.start();
  const count = 1100;
  const handle = enqueueScripted(lane, 'a', 'x', [Array.from({ length: count }, (_, n) => ({ emit: n }))]);
  await handle;
  const chunks = await collect(handle.chunks());
  assert.equal(chunks[0].missed, count - chunks.length);
  assert.ok(chunks[0].missed > 0);
  assert.equal(chunks[0].index, chunks[0].missed);
  assert.equal(chunks[chunks.length - 1].value, String(count - 1));
});

test('several calls of next get reports in their order', async () => {
  const lane = one();
  const handle = enqueueScripted(lane, 'a', 'x', [Array.from({ length: 50 }, (_, n) => ({ emit: n }))]);
  const chunks = handle.chunks();
  const calls = Array.from({ length: 51 }, () => chunks.next());
  lane.start();
  const results = await Promise.all(calls);
  assert.deepEqual(results.slice(0, 50).map(({ value }) => value.index), Array.from({ length: 50 }, (_, n) => n));
  assert.deepEqual(results[50], { value: undefined, done: true });
});

test('leaving an iterator ends its waiting calls, and the command goes on', async () => {
  const lane = one();
  const handle = enqueueScripted(lane, 'a', 'x', [[{ emit: 1 }, { return: 'done' }]]);
  const [chunks, progress] = [handle.chunks(), handle.progress()];
  const calls = [chunks.next(), chunks.next(), progress.next()];
  assert.deepEqual(await chunks.return('value'), { value: 'value', done: true });
  await progress.return();
  assert.deepEqual((await Promise.all(calls)).map(({ done }) => done), [true, true, true]);
  assert.deepEqual(await chunks.next(), { value: undefined, done: true });
  lane.start();
  assert.equal(await handle, '"done"');
  for await (const { value } of handle.chunks()) {
    assert.equal(value, '1');
    break;
  }
});

test('progress skips to the newest value, and ends with the command', async () => {
  const lane = one();
  lane.start();
  const handle = enqueueScripted(lane, 'a', 'x', [[{ progress: 1 }, { progress: { page: 2 } }]]);
  await handle;
  assert.deepEqual(await collect(handle.progress()), ['{"page":2}']);
  assert.deepEqual(await collect(lane.enqueue('a', 'quiet').progress()), []);
});

test('a running command that is cancelled ends what it reports', async () => {
  const lane = one();
  lane.start();
  const handle = enqueueScripted(lane, 'a', 'x', [[{ emit: 1 }, { sleep_ms: 600000 }]]);
  const seen = [];
  for await (const { value } of handle.chunks()) {
    seen.push(value);
    assert.equal(handle.cancel(), true);
  }
  assert.deepEqual(seen, ['1']);
  await assert.rejects(handle.result(), cancelled);
});

test('a handle shows itself', () => {
  const handle = one().enqueue('a', 'x', null, { id: 'mine' });
  assert.equal(inspect(handle), "CommandHandle { id: 'mine', laneId: 'a', status: 'pending' }");
});

test('submitManyScripted follows its scripts', async () => {
  const lane = one();
  lane.start();
  const [fine, bad] = submitManyScripted(lane, 'a', [
    { commandType: 'x', script: [[{ return: 1 }]], options: { id: 'x' } },
    { commandType: 'y', script: [[{ dance: 1 }]] },
  ]);
  assert.equal(fine.id, 'x');
  assert.equal(await fine, '1');
  assert.equal(bad.code, 'CONFIG_ERROR');
});

test('a handle that nobody holds cancels nothing', async () => {
  const code = `
    const { Lane } = require('@a3s-lab/lane');
    const { enqueueScripted } = require('@a3s-lab/lane/testing');
    const lane = new Lane();
    lane.start();
    const script = [[{ sleep_ms: 200 }, { emit: 1 }, { return: 1 }]];
    enqueueScripted(lane, 'query', 'dropped', script);
    enqueueScripted(lane, 'query', 'abandoned', script).result();
    enqueueScripted(lane, 'query', 'left', script).chunks().return();
    lane.subscribeFiltered(['queue.command.completed', 'queue.command.cancelled'], (error, { key }) => console.log(key));
    const collect = setInterval(() => global.gc(), 10);
    setTimeout(() => { clearInterval(collect); lane.shutdown(); }, 100);`;
  const { status, stdout, stderr } = await program(code, { args: ['--expose-gc'] });
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  assert.deepEqual(stdout.trim().split('\n'), Array(3).fill('queue.command.completed'));
});

test('work goes on as long as its handle is held, also without its Lane object', async () => {
  const code = `
    const { Lane } = require('@a3s-lab/lane');
    const { enqueueScripted } = require('@a3s-lab/lane/testing');
    const handle = { value: undefined };
    (() => {
      const lane = new Lane();
      lane.start();
      handle.value = enqueueScripted(lane, 'query', 'slow', [[{ sleep_ms: 300 }, { return: 'done' }]]);
    })();
    const collect = setInterval(() => global.gc(), 10);
    setTimeout(() => { clearInterval(collect); handle.value.then(console.log); }, 200);`;
  const { status, stdout, stderr } = await program(code, { args: ['--expose-gc'] });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '"done"\n', stderr: '' });
});

test('a handle from before the first handler brings about what its cancel must', async () => {
  const code = `
    const { Lane } = require('@a3s-lab/lane');
    const lane = Lane.withLanes([{ laneId: 'q', priority: 1, maxConcurrency: 1 }]);
    const handle = lane.enqueue('q', 'work', '1');
    const began = new Promise((begin) => {
      lane.handle('work', (_, { signal }) => {
        begin();
        return new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => {
            console.log('aborted');
            reject(signal.reason);
          });
        });
      });
    });
    lane.handle('next', () => 'ran');
    lane.start();
    lane.submitAsync('q', 'next').then(console.log);
    handle.result().catch((error) => console.log(error.code));
    began.then(() => setTimeout(() => handle.cancel(), 50));
  `;
  const { status, stdout, stderr } = await program(code);
  assert.deepEqual([status, stderr], [0, '']);
  assert.deepEqual(stdout.trim().split('\n').sort(), ['CANCELLED', 'aborted', 'ran']);
});
