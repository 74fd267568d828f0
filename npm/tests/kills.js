'use strict';

// What the tests with killed processes share: such a process (storage-process.js), what it has said, and what must hold after it.
//
// A3S_LANE_KILLS says how often they kill, A3S_LANE_KILLS_SEED plays the same instants again.

const assert = require('node:assert/strict');
const { spawn } = require('child_process');
const fs = require('fs');
const path = require('path');

const { kindOf } = require('./storage-process.js');
const { PATIENCE_MS, root } = require('./support.js');

const PROCESS = path.join(__dirname, 'storage-process.js');
const noKill = process.platform === 'win32' && 'an exit code cannot be told from a kill';

/** A process that does a task on a directory, and what it has said so far. */
class Worker {
  steps = [];
  #waiting = new Set();

  constructor(task, directory, { args = [], isQuiet = false, environment = {} } = {}) {
    this.child = spawn(process.execPath, [PROCESS, task, directory, ...args], {
      cwd: root,
      stdio: ['ignore', 'pipe', isQuiet ? 'ignore' : 'inherit'],
      env: { ...process.env, ...environment },
    });
    let rest = '';
    this.child.stdout.setEncoding('utf8');
    this.child.stdout.on('data', (data) => {
      // A line without an end was not said.
      const lines = (rest + data).split('\n');
      rest = lines.pop();
      for (const line of lines) if (line.startsWith('=')) this.steps.push(line.slice(1).split(' '));
      for (const look of this.#waiting) look();
    });
    /** Its end, and all that it has said. That it does not end is a failure. */
    this.ended = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.child.kill('SIGKILL');
        reject(new Error(`'${task}' never ended; it said last: ${this.steps.slice(-20).join()}`));
      }, PATIENCE_MS * 3);
      this.child.on('error', reject);
      this.child.on('close', (status, signal) => {
        clearTimeout(timer);
        resolve({ status, signal, steps: this.steps });
      });
    });
  }

  /** Waits until that holds for what it has said. That it ends or hangs is a failure. */
  async until(holds) {
    let look;
    let timer;
    const held = new Promise((resolve, reject) => {
      look = () => holds(this.steps) && resolve();
      timer = setTimeout(() => {
        this.child.kill('SIGKILL');
        reject(new Error(`it hangs; it said last: ${this.steps.slice(-20).join()}`));
      }, PATIENCE_MS * 2);
    });
    this.#waiting.add(look);
    look();
    const ended = this.ended.then(({ status, signal }) => assert.fail(`it has ended by itself: ${signal || status}`));
    await Promise.race([held, ended]).finally(() => {
      this.#waiting.delete(look);
      clearTimeout(timer);
    });
  }

  /** Kills it, and returns what it has said. */
  async kill() {
    this.child.kill('SIGKILL');
    const { signal, steps } = await this.ended;
    assert.equal(signal, 'SIGKILL', 'it has ended by itself');
    return steps;
  }
}

/** What was said so far about the commands that this test has not seen settle. */
class Said {
  acknowledged = new Set();
  settled = new Set();
  runs = 0;
  refusals = 0;

  /** All that one process has said. */
  hear(steps) {
    // Its own: what it has refused may run after it, as its answer may have been lost on the way.
    const refused = new Set();
    const ran = new Set();
    for (const [step, id] of steps) {
      if (step === 'run') {
        assert.ok(!this.settled.has(id), `${id} runs after it has settled`);
        ran.add(id);
        this.runs += 1;
      } else if (step === 'refused') {
        refused.add(id);
        this.refusals += 1;
      } else {
        assert.ok(!this[step].has(id), `${id} is ${step} twice`);
        this[step].add(id);
      }
    }
    const both = [...refused].filter((id) => this.acknowledged.has(id));
    assert.deepEqual(both, [], 'acknowledged and refused');
    const runs = [...refused].filter((id) => ran.has(id));
    assert.deepEqual(runs, [], 'refused, and it runs');
  }

  totals() {
    return { acknowledged: this.acknowledged.size, settled: this.settled.size, runs: this.runs, refusals: this.refusals };
  }
}

/** Has another process restart the queue and let it run empty, and compares with what was said. */
async function restart(directory, said) {
  const asked = [...said.acknowledged];
  fs.writeFileSync(`${directory}.asked`, JSON.stringify(asked));
  assert.equal((await new Worker('restart', directory).ended).status, 0, 'it restarts');
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

/** Random numbers that are the same again with the same seed. */
class Random {
  #state;

  constructor(seed) {
    this.#state = seed;
  }

  below(end) {
    this.#state = BigInt.asUintN(64, this.#state * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n);
    return Number((this.#state >> 33n) % BigInt(end));
  }

  of(choices) {
    return choices[this.below(choices.length)];
  }
}

function add(sum, more) {
  for (const [name, count] of Object.entries(more)) sum[name] = (sum[name] || 0) + count;
}

/** Has so many processes killed per interpreter, on two directories side by side, and returns what was counted. */
async function play(usual, killMany) {
  const rounds = Number(process.env.A3S_LANE_KILLS || usual);
  const seed = BigInt(process.env.A3S_LANE_KILLS_SEED || Date.now() % 1_000_000_000);
  console.log(`A3S_LANE_KILLS=${rounds} A3S_LANE_KILLS_SEED=${seed}`);
  const half = Math.floor(rounds / 2);
  const sum = {};
  const sides = [killMany(rounds - half, new Random(seed)), killMany(half, new Random(seed + 1n))];
  // Both to their end, as their disks are taken away then.
  for (const { reason, value } of await Promise.allSettled(sides)) {
    if (reason !== undefined) throw reason;
    add(sum, value);
  }
  console.log(sum);
  assert.equal(sum.kills, rounds);
  assert.ok(rounds < 20 || sum.settled > 0, 'no process came to work before it was killed');
  return sum;
}

module.exports = { Said, Worker, add, noKill, play, restart };
