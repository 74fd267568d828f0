'use strict';

// A queue that is killed at any instant goes on where it was: what was acknowledged settles, once. The other process says what
// happens; this one kills it, again and again on one directory, and now and then has a third one
// restart it, and compares. It does so on two directories side by side.
//
// A3S_LANE_KILLS says how often, A3S_LANE_KILLS_SEED plays the same instants again.

const assert = require('node:assert/strict');
const { spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const test = require('node:test');

const { Lane } = require('@a3s-lab/lane');
const { MANY, kindOf } = require('./storage-process.js');
const { PATIENCE_MS, root } = require('./support.js');

const PROCESS = path.join(__dirname, 'storage-process.js');
const noKill = process.platform === 'win32' && 'an exit code cannot be told from a kill';

function temporary() {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'a3s-lane-'));
}

/** Runs a task. `kill` is called at its first step, or at once, and may kill it. */
function run(task, directory, { kill = () => {}, early = false, args = [], isQuiet = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROCESS, task, directory, ...args], {
      cwd: root,
      stdio: ['ignore', 'pipe', isQuiet ? 'ignore' : 'inherit'],
    });
    let text = '';
    let isAsked = false;
    const ask = () => {
      if (isAsked) return;
      isAsked = true;
      kill(child);
    };
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (data) => {
      text += data;
      if (text.includes('=')) ask();
    });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`'${task}' never ended; it said:${text}`));
    }, PATIENCE_MS * 2);
    child.on('error', reject);
    child.on('spawn', () => early && ask());
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      // A line without an end was not said.
      const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
      const steps = lines.filter((line) => line.startsWith('=')).map((line) => line.slice(1).split(' '));
      resolve({ status, signal, steps });
    });
  });
}

/** What was said so far about the commands that this test has not seen settle. */
class Said {
  acknowledged = new Set();
  settled = new Set();
  runs = 0;

  hear(step, id) {
    if (step === 'run') {
      assert.ok(!this.settled.has(id), `${id} runs after it has settled`);
      this.runs += 1;
    } else {
      assert.ok(!this[step].has(id), `${id} is ${step} twice`);
      this[step].add(id);
    }
  }
}

/** Has another process restart the queue and let it run empty, and compares with what was said. */
async function restart(directory, said) {
  const asked = [...said.acknowledged];
  fs.writeFileSync(`${directory}.asked`, JSON.stringify(asked));
  assert.equal((await run('restart', directory)).status, 0, 'it restarts');
  const found = JSON.parse(fs.readFileSync(`${directory}.found`, 'utf8'));
  const { runs, settled, results, letters, ends, pending, unclaimed } = found;
  const before = new Set(settled);
  const forgotten = [...said.settled].filter((id) => !before.has(id));
  assert.deepEqual(forgotten, [], 'settled and forgotten');
  const left = new Map();
  for (const id of letters) left.set(id, (left.get(id) || 0) + 1);
  for (const id of asked) {
    const number = Number(id.split('-')[2]);
    const fails = kindOf(number) === 'fails';
    assert.equal(results[id], fails ? 'COMMAND_ERROR' : number, id);
    assert.equal(left.get(id), fails ? 1 : undefined, `letters of ${id}`);
  }
  const again = Object.keys(runs).filter((id) => before.has(id));
  assert.deepEqual(again, [], 'they run after they have settled');
  // Of all processes that this directory had.
  const more = Object.keys(ends).filter((id) => ends[id] !== 1);
  assert.deepEqual(more, [], 'settled more than once');
  const without = asked.filter((id) => ends[id] === undefined);
  assert.deepEqual(without, [], 'never settled');
  assert.deepEqual([pending, unclaimed], [[], []]);
}

/** Kills so many processes in a row, on one directory. */
async function killMany(rounds, seed) {
  const directory = temporary();
  let random = seed;
  let said = new Said();
  const sum = { kills: 0, acknowledged: 0, settled: 0, runs: 0 };
  for (let round = 0; round < rounds; round += 1) {
    random = BigInt.asUintN(64, random * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n);
    const life = Number((random >> 33n) % 60_000n) / 1000;
    const kill = (child) => setTimeout(() => child.kill('SIGKILL'), life);
    // A killed process needs no fsync; some have it all the same, as it makes groups and takes time.
    const args = [(random >> 20n) % 4n === 0n ? 'full' : 'relaxed'];
    const { signal, steps } = await run('work', directory, { kill, early: round % 5 === 0, args });
    assert.equal(signal, 'SIGKILL', 'it has ended by itself');
    sum.kills += 1;
    for (const [step, id] of steps) said.hear(step, id);
    // Several kills in a row: the next process is killed while it restores what this one has left.
    if (random % 3n === 0n || round + 1 === rounds) {
      await restart(directory, said);
      sum.acknowledged += said.acknowledged.size;
      sum.settled += said.settled.size;
      sum.runs += said.runs;
      said = new Said();
    }
  }
  fs.rmSync(directory, { recursive: true, force: true });
  return sum;
}

/** I8, durable_ack: an acknowledged submit survives `kill -9` at any instant. */
test('i8_durable_ack', { skip: noKill }, async () => {
  // Per interpreter: the tests run on two of them.
  const rounds = Number(process.env.A3S_LANE_KILLS || 250);
  const seed = BigInt(process.env.A3S_LANE_KILLS_SEED || Date.now() % 1_000_000_000);
  console.log(`A3S_LANE_KILLS=${rounds} A3S_LANE_KILLS_SEED=${seed}`);
  const half = Math.floor(rounds / 2);
  const [one, other] = await Promise.all([killMany(rounds - half, seed), killMany(half, seed + 1n)]);
  const sum = Object.fromEntries(Object.keys(one).map((name) => [name, one[name] + other[name]]));
  console.log(sum);
  assert.equal(sum.kills, rounds);
  assert.ok(rounds < 50 || sum.settled > 0, 'no process came to work before it was killed');
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
  let refusal;
  const kill = (child) => {
    try {
      new Lane({ storage: directory });
    } catch (error) {
      refusal = error;
    }
    child.kill('SIGKILL');
  };
  await run('work', directory, { kill });
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
