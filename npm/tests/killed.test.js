'use strict';

// A queue that is killed at any instant goes on where it was: what was acknowledged settles, once. The other process says what
// happens; this one kills it, again and again on one directory, and now and then has a third one
// restart it, and compares. It does so on two directories side by side.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { Lane } = require('@a3s-lab/lane');
const { Said, Worker, add, noKill, play, restart } = require('./kills.js');
const { MANY } = require('./storage-process.js');
const { sleep, temporary } = require('./support.js');

/** Runs a task to its end. */
function run(task, directory, options) {
  return new Worker(task, directory, options).ended;
}

/** Kills so many processes in a row, on one directory. */
async function killMany(rounds, random) {
  const directory = path.join(temporary(), 'queue');
  let said = new Said();
  const sum = {};
  for (let round = 0; round < rounds; round += 1) {
    const life = random.below(60_000) / 1000;
    // A killed process needs no fsync; some have it all the same, as it makes groups and takes time.
    const worker = new Worker('work', directory, { args: [random.below(4) === 0 ? 'full' : 'relaxed'] });
    if (round % 5 > 0) await worker.until((steps) => steps.length > 0);
    await sleep(life);
    said.hear(await worker.kill());
    add(sum, { kills: 1 });
    // Several kills in a row: the next process is killed while it restores what this one has left.
    if (random.below(3) === 0 || round + 1 === rounds) {
      await restart(directory, said);
      add(sum, said.totals());
      said = new Said();
    }
  }
  return sum;
}

/** I8, durable_ack: an acknowledged submit survives `kill -9` at any instant. */
test('i8_durable_ack', { skip: noKill }, async () => {
  await play(250, killMany);
});

test('a_command_that_kills_its_process_becomes_a_dead_letter', { skip: noKill }, async () => {
  const directory = temporary();
  const runs = {};
  for (const number of [1, 2, 3, 4]) {
    const { signal, status, steps } = await run('poison', directory);
    for (const [, id] of steps) runs[id] = (runs[id] || 0) + 1;
    assert.deepEqual([signal, status], number < 4 ? ['SIGKILL', null] : [null, 0], `process ${number}`);
  }
  assert.deepEqual(runs, { a: 1, b: 3, c: 1 });
  const letters = await new Lane({ storage: directory }).deadLetters.list();
  assert.equal(letters.length, 1);
  const [{ commandId, attempts, code, payload }] = letters;
  assert.deepEqual({ commandId, attempts, code, payload }, { commandId: 'b', attempts: 3, code: 'CRASHED', payload: 'poison' });
});

test('maxCrashes is how often the process may end while a command runs', { skip: noKill }, async () => {
  const directory = temporary();
  const runs = [];
  for (const expected of ['SIGKILL', null]) {
    const { signal, steps } = await run('poison', directory, { args: ['1'] });
    assert.equal(signal, expected);
    runs.push(...steps.map(([, id]) => id));
  }
  assert.deepEqual(runs, ['a', 'b', 'c']);
});

test('a directory that another process uses is refused', { skip: noKill }, async () => {
  const directory = temporary();
  const worker = new Worker('work', directory);
  await worker.until((steps) => steps.length > 0);
  let refusal;
  try {
    new Lane({ storage: directory });
  } catch (error) {
    refusal = error;
  }
  await worker.kill();
  assert.equal(refusal.code, 'STORAGE_ERROR');
  assert.match(refusal.message, /storage: /);
});

test('a process that ends while a command runs does not count as a crash', async () => {
  const directory = temporary();
  for (const way of ['now', 'later', 'by an error', 'now', 'later', 'by an error']) {
    const { status, steps } = await run('leaves', directory, { args: [way], isQuiet: way === 'by an error' });
    assert.deepEqual({ status, steps }, { status: way === 'by an error' ? 1 : 0, steps: [['run', 'a']] }, way);
  }
  const [left, ...others] = await new Lane({ storage: directory }).unclaimed();
  const { commandId, attempts, crashes } = left;
  assert.deepEqual({ commandId, attempts, crashes, others }, { commandId: 'a', attempts: 0, crashes: 0, others: [] });
});

test('what is submitted before the process ends by itself is there in the next one', async () => {
  const directory = temporary();
  assert.equal((await run('submits', directory)).status, 0);
  const lane = new Lane({ storage: directory, results: {} });
  const seen = [];
  lane.handle('work', (payload, { id, metadata, laneId, attempt }) => {
    seen.push({ id, payload, metadata, laneId, attempt });
    return payload.n;
  });
  lane.start();
  await lane.drainAsync(60_000);
  const command = (n) => ({
    id: `w${n}`,
    payload: { n, when: '1970-01-01T00:00:00.000Z' },
    metadata: { n },
    laneId: 'query',
    attempt: 1,
  });
  assert.deepEqual(seen, [1, 2, 3].map(command));
  assert.equal(await (await lane.find('w3')).result(), 3);
  const [other, ...many] = await lane.unclaimed();
  assert.deepEqual([other.commandId, other.reason, many.length], ['o', 'no_handler', MANY]);
});

test('a process goes on while one stored command runs after the other', async () => {
  for (const processes of [['50 never', '0 start'], ['50 never', '0 startAsync'], ['50 start'], ['50 startAsync']]) {
    const directory = temporary();
    let runs = 0;
    for (const argument of processes) {
      const { status, steps } = await run('consumes', directory, { args: [argument] });
      assert.equal(status, 0);
      runs += steps.length;
    }
    assert.equal(runs, 50, processes.join());
  }
});
