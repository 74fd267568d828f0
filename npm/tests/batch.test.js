'use strict';

// The handles of submitMany, where commands have handlers and no options: they know little by themselves and ask when they are
// asked. They must be told apart from others by nothing but their cost.

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { ManualClock, createLane } = require('@a3s-lab/lane/testing');
const { eventually, program } = require('./support.js');

function plain(lane, payloads, commandType = 'x', laneId = 'one') {
  return lane.submitMany(laneId, payloads.map((payload) => ({ commandType, payload })));
}

function created(config, options) {
  const lane = createLane({ configs: [{ laneId: 'one', priority: 0, maxConcurrency: 1, ...config }], ...options });
  lane.start();
  return lane;
}

test('a handle knows its command before, during and after its run', async () => {
  const lane = created();
  let statuses;
  let go;
  lane.handle('x', async (payload, ctx) => {
    if (payload === 0) {
      statuses = handles.map(({ status }) => status);
      await new Promise((resolve) => (go = resolve));
    }
    return ctx.id;
  });
  lane.pauseLane('one');
  const handles = plain(lane, [0, 1, 2]);
  assert.deepEqual(handles.map(({ status }) => status), ['pending', 'pending', 'pending']);
  assert.deepEqual(handles.map(({ laneId }) => laneId), ['one', 'one', 'one']);
  assert.deepEqual(handles[1].explain().reasons.map(({ reason }) => reason), ['lane_paused', 'behind']);
  lane.resumeLane('one');
  await eventually(() => go !== undefined);
  assert.deepEqual(statuses, ['running', 'pending', 'pending']);
  go();
  const ids = await Promise.all(handles);
  assert.deepEqual(handles.map(({ id }) => id), ids);
  assert.equal(new Set(ids).size, 3);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.deepEqual(handles.map(({ status }) => status), ['completed', 'completed', 'completed']);
  assert.deepEqual(handles.map((handle) => handle.explain()), [null, null, null]);
  assert.deepEqual(handles.map((handle) => handle.cancel()), [false, false, false]);
});

test('a handle that nobody asked before knows how its command has ended', async () => {
  const clock = new ManualClock();
  const lane = created({ maxConcurrency: 9, timeoutSecs: 1 }, { clock });
  const begun = [];
  lane.handle('x', (payload, ctx) => {
    begun.push(payload);
    if (payload === 'fails') throw new Error('no');
    if (payload === 'says') throw new LaneError('no', 'CANCELLED');
    if (payload === 'completes') return 1;
    return new Promise((resolve, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason)));
  });
  const payloads = ['completes', 'fails', 'says', 'cancelled', 'slow'];
  const handles = plain(lane, payloads);
  const twins = payloads.map((payload) => lane.enqueue('one', 'x', payload));
  await eventually(() => begun.length === 10);
  handles[3].cancel();
  twins[3].cancel();
  clock.advance(1_000);
  const outcomes = (list) => Promise.all(list.map((handle) => handle.result().then(String, ({ code, message }) => [code, message])));
  const ended = await outcomes(handles);
  assert.deepEqual(ended, await outcomes(twins));
  assert.deepEqual(ended.slice(1).map(([code]) => code), ['COMMAND_ERROR', 'CANCELLED', 'CANCELLED', 'TIMEOUT']);
  const statuses = (list) => list.map(({ status }) => status);
  assert.deepEqual(statuses(handles), statuses(twins));
  assert.deepEqual(statuses(handles).slice(3), ['cancelled', 'timed_out']);
});

test('what a command has reported is there before and after its end', async () => {
  const lane = created();
  lane.handle('x', async (payload, ctx) => {
    if (payload === 'silent') return;
    for (const part of ['a', 'b']) ctx.emit(part);
    ctx.progress({ done: 2 });
    await new Promise(setImmediate);
    ctx.emit('c');
  });
  const read = async (reports) => {
    const values = [];
    for await (const value of reports) values.push(value);
    return values;
  };
  const [early, late, silent] = plain(lane, ['early', 'late', 'silent']);
  assert.deepEqual(await read(early), ['a', 'b', 'c']);
  await Promise.all([early, late, silent]);
  assert.deepEqual(await read(late), ['a', 'b', 'c']);
  assert.deepEqual((await read(late.chunks())).map(({ index }) => index), [0, 1, 2]);
  assert.deepEqual(await read(late.progress()), [{ done: 2 }]);
  for (const reports of [silent, silent.chunks(), silent.progress()]) assert.deepEqual(await read(reports), []);
  const left = silent.chunks();
  assert.deepEqual(await left.return(), { value: undefined, done: true });
});

test('a handler may ask the handle of a command that has just settled', async () => {
  const lane = created({ maxConcurrency: 3 });
  const seen = [];
  const finish = [];
  lane.handle('x', (payload) => new Promise((_, reject) => (finish[payload] = reject)));
  lane.handle('looks', () => {
    for (const handle of handles) seen.push(handle.status === 'running' ? ['running'] : [handle.status, handle.cancel(), handle.explain()]);
  });
  const handles = plain(lane, [0, 1, 2]);
  const codes = Promise.all(handles.map((handle) => handle.result().catch(({ code }) => code)));
  await eventually(() => finish.length === 3);
  // Those that look begin in the slots of those that end: what becomes of these is told in the same batch, and later.
  for (let n = 0; n < 50; n += 1) lane.enqueue('one', 'looks');
  finish.forEach((reject) => reject(new Error('no')));
  assert.deepEqual(await codes, ['COMMAND_ERROR', 'COMMAND_ERROR', 'COMMAND_ERROR']);
  await lane.drainAsync(30_000);
  assert.equal(seen.length, 150);
  for (const each of seen) if (each[0] !== 'running') assert.deepEqual(each, ['failed', false, null]);
});

test('refused commands do not keep the others out, and payloads stay what they are', async () => {
  const lane = created({ maxPending: 2 });
  lane.pauseLane('one');
  const payloads = [{ a: 1 }, () => 2, Symbol('three')];
  lane.handle('x', (payload) => payload);
  const [first, second, refused] = plain(lane, payloads);
  assert.ok(refused instanceof LaneError);
  assert.equal(refused.code, 'LANE_FULL');
  assert.match(refused.message, /^Lane is full/);
  lane.resumeLane('one');
  assert.deepEqual(await Promise.all([first, second]), payloads.slice(0, 2));
  lane.shutdown();
  assert.deepEqual(plain(lane, [1]).map(({ code }) => code), ['SHUTDOWN_IN_PROGRESS']);
});

test('in a lane that says wait, commands wait for room and have their handles', async () => {
  const lane = created({ maxPending: 1, overflow: 'wait' });
  lane.pauseLane('one');
  lane.handle('x', (payload) => payload);
  const handles = plain(lane, [1, 2, 3]);
  assert.equal(lane.stats().totalPending, 1);
  lane.resumeLane('one');
  assert.deepEqual(await Promise.all(handles), [1, 2, 3]);
});

test('a command that leaves for a newer one is cancelled', async () => {
  const lane = created({ maxPending: 1, overflow: 'drop_oldest' });
  lane.pauseLane('one');
  lane.handle('x', (payload) => payload);
  const [oldest, newest] = plain(lane, [1, 2]);
  await assert.rejects(oldest.result(), { code: 'LANE_FULL' });
  assert.equal(oldest.status, 'cancelled');
  lane.resumeLane('one');
  assert.equal(await newest, 2);
});

test('commands of a lane that was not started settle with its end', async () => {
  const lane = new Lane();
  lane.handle('x', () => 1);
  const [handle] = plain(lane, [1], 'x', 'query');
  const report = await lane.shutdownWithin(0);
  assert.deepEqual(report.pending.map(({ commandId }) => commandId), [handle.id]);
  await assert.rejects(handle.result(), { code: 'QUEUE_ERROR' });
  assert.equal(handle.status, 'failed');
});

test('more kinds of commands than are remembered', async () => {
  const lane = new Lane();
  const names = Array.from({ length: 4_100 }, (_, n) => `type ${n}`);
  for (const name of names) lane.handle(name, (payload) => payload);
  lane.start();
  const answers = lane.submitMany('query', names.map((commandType, payload) => ({ commandType, payload })));
  assert.deepEqual(await Promise.all(answers), names.map((_, n) => n));
});

test('a handle keeps what runs its command', async () => {
  const { status, stdout, stderr } = await program(
    `
    const { Lane } = require('@a3s-lab/lane');
    const submit = () => {
      const lane = new Lane();
      lane.start();
      lane.handle('x', (n) => n);
      lane.setLane({ laneId: 'query', priority: 0, rateLimit: { maxCommands: 1, windowMs: 100 }, burst: 1 });
      return lane.submitMany('query', [6, 7].map((payload) => ({ commandType: 'x', payload })))[1];
    };
    const handle = submit();
    const look = () => {
      globalThis.gc();
      if (handle.status === 'completed') handle.then(console.log);
      else setTimeout(look, 5);
    };
    look();`,
    { args: ['--expose-gc'] },
  );
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '7\n', stderr: '' });
});
