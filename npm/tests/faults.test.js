'use strict';

// A full disk, calls of the operating system that fail, and torn files, under a process that is killed: errors are clear, nothing that was
// acknowledged is lost, and the process goes on when it can.

const assert = require('node:assert/strict');
const { spawn } = require('child_process');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { Lane, inspect } = require('@a3s-lab/lane');
const { library, smallDisk } = require('./faults.js');
const { PATIENCE_MS, root, temporary } = require('./support.js');

const PROCESS = path.join(__dirname, 'faulty-process.js');
const EIO = '5';
const ENOSPC = '28';

/** Runs a task in a process of its own; resolves to its end and what it has said. */
function run(task, directory, argument = '', environment = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROCESS, task, directory, argument], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...environment },
    });
    let text = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (data) => (text += data));
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`'${task}' never ended; it said:${text}`));
    }, PATIENCE_MS * 4);
    child.on('error', reject);
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      const lines = text.split('\n').filter((line) => line.startsWith('='));
      const said = lines.map((line) => [line.slice(1, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]);
      resolve({ status, signal, said });
    });
  });
}

function of(said, ...steps) {
  return said.filter(([step]) => steps.includes(step)).map(([, id]) => id);
}

async function restarted(directory, ids) {
  const { status, said } = await run('restart', directory, JSON.stringify(ids));
  assert.equal(status, 0);
  return JSON.parse(of(said, 'found')[0]);
}

/** All that was acknowledged is there, and what had settled does not run again. */
async function checkAfterRestart(directory, said) {
  const acknowledged = [...new Set(of(said, 'acknowledged', 'settled'))];
  const { ran, results } = await restarted(directory, acknowledged);
  assert.deepEqual(results, Object.fromEntries(acknowledged.map((id) => [id, id])), 'nothing is lost');
  assert.equal(new Set(ran).size, ran.length, 'each runs once');
  const settled = of(said, 'settled').filter((id) => ran.includes(id));
  assert.deepEqual(settled, [], 'what has settled does not run again');
  const before = of(said, 'run');
  const left = acknowledged.filter((id) => !before.includes(id) && !ran.includes(id));
  assert.deepEqual(left, [], 'what has not run runs now');
}

test('a full disk', async (t) => {
  const disk = path.join(temporary(), 'disk');
  const { skip, unmount } = smallDisk(disk);
  if (skip !== undefined) return t.skip(skip);
  try {
    const directory = path.join(disk, 'queue');
    const { signal, said } = await run('work', directory, 'full');
    assert.equal(signal, 'SIGKILL', JSON.stringify(said));
    const refusals = of(said, 'refused');
    assert.ok(refusals.length >= 3);
    for (const text of refusals) assert.match(text, /the disk is full|No space left on device/);
    await checkAfterRestart(directory, said);
  } finally {
    unmount();
  }
});

async function keepOne(directory) {
  const lane = Lane.withLanes([{ laneId: 'one', priority: 0 }], { storage: directory });
  await lane.enqueue('one', 'work', null, { id: 'kept' }).accepted();
  await lane.close();
}

test('a read-only disk', async (t) => {
  const disk = path.join(temporary(), 'disk');
  const { skip, readOnly, unmount } = smallDisk(disk);
  if (skip !== undefined) return t.skip(skip);
  try {
    await keepOne(path.join(disk, 'queue'));
    readOnly();
    for (const place of ['queue', 'none']) {
      const message = new RegExp(`${place}.*Read-only file system`);
      assert.throws(() => new Lane({ storage: path.join(disk, place) }), { code: 'STORAGE_ERROR', message });
    }
    const { pending, problems } = await inspect(path.join(disk, 'queue'));
    assert.deepEqual({ pending, problems }, { pending: 1, problems: [] });
  } finally {
    unmount();
  }
});

test('a file of a newer version, or of another kind', async () => {
  const directory = path.join(temporary(), 'queue');
  await keepOne(directory);
  const database = path.join(directory, 'lanes.db');
  const newer = fs.readFileSync(database);
  // Its format.
  newer.writeInt32BE(3, 60);
  const text = Buffer.from('not a database, but long enough to be taken for one. '.repeat(20));
  for (const [content, message] of [
    [newer, /lanes\.db was written by a newer version: its format is 3, this one knows 2/],
    [text, /lanes\.db is damaged, or not a storage of a3s-lane/],
  ]) {
    fs.writeFileSync(database, content);
    assert.throws(() => new Lane({ storage: directory }), { code: 'STORAGE_ERROR', message });
    await assert.rejects(inspect(directory), { code: 'STORAGE_ERROR', message });
    assert.ok(fs.readFileSync(database).equals(content), 'it is left alone');
  }
});

for (const FAIL_ERRNO of [EIO, ENOSPC]) {
  test(`calls that fail for a while with ${FAIL_ERRNO}`, async (t) => {
    const { skip, library: LD_PRELOAD } = library();
    if (skip !== undefined) return t.skip(skip);
    const place = temporary();
    const directory = path.join(place, 'queue');
    const environment = { LD_PRELOAD, FAIL_WHILE: path.join(place, 'fails'), FAIL_ERRNO };
    const { signal, said } = await run('work', directory, 'failing', environment);
    assert.equal(signal, 'SIGKILL', JSON.stringify(said));
    const refusals = of(said, 'refused');
    assert.equal(refusals.length, 4, 'also a storage that is opened meanwhile');
    for (const text of refusals) assert.match(text, /lanes\.db/, 'it names the file');
    assert.deepEqual(of(said, 'acknowledged').filter((id) => id.startsWith('large')), []);
    await checkAfterRestart(directory, said);
  });
}

test('a call that fails anywhere', async (t) => {
  const { skip, library: LD_PRELOAD } = library();
  if (skip !== undefined) return t.skip(skip);
  for (const count of ['1', '1000000']) {
    for (const first of ['1', '2', '3', '5', '8', '13', '21', '34']) {
      const what = `${count} calls from the ${first}th on`;
      const directory = path.join(temporary(), 'queue');
      const environment = { LD_PRELOAD, FAIL_AT: first, FAIL_COUNT: count, FAIL_ERRNO: EIO };
      const { signal, said } = await run('anywhere', directory, '', environment);
      assert.equal(signal, 'SIGKILL', what);
      assert.ok(said.length > 0, 'it gets on, or says why not');
      const acknowledged = of(said, 'acknowledged');
      // It goes on with the next one, unless all fail.
      const goesOn = acknowledged.includes('id-5') || of(said, 'refused').includes('all');
      assert.ok(goesOn || count !== '1', what);
      const { results } = await restarted(directory, acknowledged);
      assert.deepEqual(results, Object.fromEntries(acknowledged.map((id) => [id, id])), what);
    }
  }
});

test('the log of a killed process that is torn', { skip: process.platform === 'win32' && 'there is no SIGKILL here' }, async () => {
  const place = temporary();
  const directory = path.join(place, 'queue');
  const { signal, said } = await run('acknowledges', directory);
  assert.equal(signal, 'SIGKILL');
  const lengths = of(said, 'acknowledged').map((text) => text.split(' ')).map(([id, length]) => [id, Number(length)]);
  assert.equal(lengths.length, 10);
  const log = fs.readFileSync(path.join(directory, 'lanes.db-wal'));
  assert.equal(lengths[9][1], log.length);
  let copies = 0;
  const found = async (bytes) => {
    const copy = path.join(place, `copy-${(copies += 1)}`);
    fs.cpSync(directory, copy, { recursive: true });
    fs.writeFileSync(path.join(copy, 'lanes.db-wal'), bytes);
    const lane = Lane.withLanes([{ laneId: 'one', priority: 0 }], { storage: copy });
    const ids = (await lane.unclaimed()).map(({ commandId }) => commandId);
    await lane.close();
    return ids;
  };
  const changed = (at) => {
    const bytes = Buffer.from(log);
    bytes[at] ^= 0x55;
    return bytes;
  };
  const cuts = lengths.flatMap(([, length]) => [length - 1, length]);
  for (let cut = 32; cut < log.length; cut += 4099) cuts.push(cut);
  for (const cut of cuts) {
    const whole = lengths.filter(([, length]) => length <= cut).map(([id]) => id);
    assert.deepEqual(await found(log.subarray(0, cut)), whole, `cut at ${cut}`);
    assert.deepEqual(await found(Buffer.concat([log.subarray(0, cut), Buffer.alloc(700, 0xa5)])), whole, `garbage at ${cut}`);
    if (cut < log.length) assert.deepEqual(await found(changed(cut)), whole, `changed at ${cut}`);
  }
  // Its header: without it all would be gone, silently.
  for (let at = 0; at < 32; at += 5) {
    await assert.rejects(found(changed(at)), { code: 'STORAGE_ERROR', message: /lanes\.db-wal is damaged/ });
  }
});

/** How often a process that does this syncs its log. */
async function syncs(LD_PRELOAD, task, argument) {
  const place = temporary();
  const SYNC_LOG = path.join(place, 'syncs');
  const { signal } = await run(task, path.join(place, 'queue'), argument, { LD_PRELOAD, SYNC_LOG });
  assert.equal(signal, 'SIGKILL');
  const lines = fs.readFileSync(SYNC_LOG, 'utf8').split('\n');
  return lines.filter((line) => line.endsWith('lanes.db-wal')).length;
}

test('commands that are submitted together are stored together', async (t) => {
  const { skip, library: preload } = library();
  if (skip !== undefined) return t.skip(skip);
  const [one, many] = [await syncs(preload, 'batch', '1'), await syncs(preload, 'batch', '500')];
  assert.equal(one, many, 'a batch is one transaction');
});

test('durability says whether a submission waits for the disk', async (t) => {
  const { skip, library: preload } = library();
  if (skip !== undefined) return t.skip(skip);
  const [relaxed, full, usual] = [
    await syncs(preload, 'durability', 'relaxed'),
    await syncs(preload, 'durability', 'full'),
    await syncs(preload, 'durability', ''),
  ];
  // The same but for one sync of each of the 20 submissions.
  assert.ok(full >= relaxed + 20, `${full} syncs, and ${relaxed} with relaxed`);
  assert.equal(usual, full);
});
