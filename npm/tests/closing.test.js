'use strict';

// The end of the use of a storage: another process has the directory at once. And what it says to whoever looks from outside.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { Lane, inspect } = require('@a3s-lab/lane');
const { eventually, one, program, temporary } = require('./support.js');

/** The ids of what another process finds, which opens the directory; or why it cannot. */
async function seenByAnotherProcess(directory) {
  const { status, stdout, stderr } = await program(`
    const { Lane } = require('@a3s-lab/lane');
    (async () => {
      try {
        const lane = new Lane({ storage: ${JSON.stringify(directory)} });
        console.log((await lane.unclaimed()).map(({ commandId }) => commandId).join(' '));
      } catch (error) {
        console.log(error.message);
      }
    })();`);
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

test('close frees the directory for another process', async () => {
  const directory = temporary();
  const lane = one(directory);
  const handle = lane.enqueue('one', 'work', '1', { id: 'a' });
  await handle.accepted();
  assert.match(await seenByAnotherProcess(directory), /in use by another process/);
  await lane.close();
  assert.equal(await seenByAnotherProcess(directory), 'a');
  await assert.rejects(handle.result(), { code: 'QUEUE_ERROR' });
  await lane.close();
  const closed = { code: 'STORAGE_ERROR', message: /the storage was closed$/ };
  for (const call of [() => lane.unclaimed(), () => lane.history(), () => lane.deadLetters.list(), () => lane.find('a')]) {
    await assert.rejects(call(), closed);
  }
  assert.throws(() => lane.stats(), closed);
  assert.throws(() => lane.enqueue('one', 'work'), { code: 'SHUTDOWN_IN_PROGRESS' });
});

test('close without a storage ends the lanes', async () => {
  const lane = new Lane();
  lane.handle('work', (n) => n);
  lane.start();
  assert.equal(await lane.submitAsync('query', 'work', 1), 1);
  await lane.close();
  await assert.rejects(lane.submitAsync('query', 'work'), { code: 'SHUTDOWN_IN_PROGRESS' });
  assert.equal(lane.stats().totalPending, 0);
});

test('close stops what runs, which stays stored and counts no attempt', async () => {
  const directory = temporary();
  const lane = one(directory);
  let runs = false;
  lane.handle('hangs', () => {
    runs = true;
    return new Promise(() => {});
  });
  lane.start();
  const result = lane.submitAsync('one', 'hangs', null, { id: 'it' }).catch((error) => error.code);
  await eventually(() => runs, 'it runs');
  await lane.close();
  assert.equal(await result, 'QUEUE_ERROR');
  assert.equal(await seenByAnotherProcess(directory), 'it');
  const again = one(directory);
  const [{ attempts, crashes }] = await again.unclaimed();
  assert.deepEqual([attempts, crashes], [0, 0]);
  await again.close();
});

test('what is disposed of frees the directory', { skip: Symbol.asyncDispose === undefined }, async () => {
  const directory = temporary();
  const lane = one(directory);
  lane.handle('work', (n) => n + 1);
  lane.start();
  const result = lane.submitAsync('one', 'work', 1);
  await lane[Symbol.asyncDispose]();
  assert.equal(await result, 2);
  assert.equal(await seenByAnotherProcess(directory), '');
  const unstarted = one(directory);
  await unstarted.enqueue('one', 'work', '1', { id: 'b' }).accepted();
  await unstarted[Symbol.asyncDispose]();
  assert.equal(await seenByAnotherProcess(directory), 'b');
});

test('a process ends by itself after close', async () => {
  const directory = temporary();
  const { status, stderr } = await program(`
    const { Lane } = require('@a3s-lab/lane');
    (async () => {
      const lane = new Lane({ storage: ${JSON.stringify(directory)} });
      lane.handle('hangs', () => new Promise(() => {}));
      lane.start();
      await lane.enqueue('query', 'hangs', null).accepted();
      await lane.close();
    })();`);
  assert.equal(status, 0, stderr);
});

test('inspect says what a directory holds', async () => {
  const before = Date.now();
  const directory = path.join(temporary(), 'queue');
  const lane = Lane.withLanes(
    ['one', 'two'].map((laneId) => ({ laneId, priority: 0, maxConcurrency: 1 })),
    { storage: directory, results: {}, history: {} },
  );
  let runs = false;
  lane.handle('bad', () => {
    throw new Error('no');
  });
  lane.handle('hangs', () => {
    runs = true;
    return new Promise(() => {});
  });
  lane.start();
  await assert.rejects(lane.submitAsync('one', 'bad'));
  await lane.enqueue('two', 'other', '1').result();
  lane.enqueue('one', 'hangs');
  await eventually(() => runs, 'it runs');
  await lane.enqueue('one', 'other').accepted();
  await lane.enqueue('two', 'other', '1', { delayMs: 3_600_000 }).accepted();
  // While this process uses it.
  const { lanes, fileBytes, logBytes, ...found } = await inspect(directory);
  assert.deepEqual(found, {
    directory,
    format: 2,
    pending: 3,
    running: 1,
    deadLetters: 1,
    results: 2,
    history: 7,
    problems: [],
  });
  assert.ok(fileBytes + logBytes > 0);
  assert.deepEqual(lanes.map(({ laneId, pending }) => [laneId, pending]), [['one', 2], ['two', 1]]);
  for (const { oldestCreatedAt } of lanes) {
    const at = Date.parse(oldestCreatedAt);
    assert.ok(at >= before - 1 && at <= Date.now() + 1, oldestCreatedAt);
  }
  await lane.close();
});

test('inspect says what is wrong', async () => {
  const place = temporary();
  await assert.rejects(inspect(path.join(place, 'none')), { code: 'STORAGE_ERROR', message: /lanes\.db/ });
  assert.ok(!fs.existsSync(path.join(place, 'none')), 'it makes none');
  await assert.rejects(inspect(''), { code: 'INVALID_ARGUMENT', message: /directory must not be empty/ });
  await assert.rejects(inspect(7), /directory must be a string/);
  const directory = path.join(place, 'queue');
  const lane = one(directory);
  const commands = Array.from({ length: 200 }, () => ({ commandType: 'work', payload: JSON.stringify('x'.repeat(100)) }));
  await Promise.all(lane.submitMany('one', commands).map((answer) => answer.accepted()));
  await lane.close();
  const database = path.join(directory, 'lanes.db');
  const content = fs.readFileSync(database);
  // The count of free pages, in the header.
  content[39] = 7;
  fs.writeFileSync(database, content);
  assert.notDeepEqual((await inspect(directory)).problems, []);
  fs.writeFileSync(`${database}-wal`, 'x'.repeat(32));
  assert.match((await inspect(directory)).problems.pop(), /lanes\.db-wal is damaged/);
});
