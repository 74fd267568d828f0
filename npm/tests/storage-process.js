'use strict';

// The other process of storage.test.js and of kills.js:  node storage-process.js TASK DIRECTORY [ARGUMENT [faulty]]

const fs = require('fs');

const { Lane } = require('@a3s-lab/lane');
const { sleep } = require('./support.js');

const [, , task, directory, argument, disk] = process.argv;

/** Its disk may be faulty: then calls may be refused. */
const isFaulty = disk === 'faulty';

const TASKS = 4;
const MANY = 2000;
/** The number of a process is used again. */
const began = Date.now();

/** How the command with this number goes. */
const KINDS = ['completes', 'retries', 'fails', 'lasts', 'delayed'];

/** In the history. */
const ENDS = ['completed', 'failed'];

function kindOf(number) {
  return KINDS[number % KINDS.length];
}

/** Says what happened: a line in one write, which a pipe takes whole. */
function say(step, id) {
  fs.writeSync(1, `\n=${step} ${id}\n`);
}

/** A queue whose commands are in the directory, with the durability of the argument. `tell` is called when an attempt begins. */
function queue(where, tell) {
  const lanes = [
    { laneId: 'even', priority: 1 },
    { laneId: 'odd', priority: 0 },
  ];
  const retryPolicy = { maxRetries: 1, initialDelayMs: 1, multiplier: 1 };
  const lane = Lane.withLanes(
    lanes.map((each) => ({ ...each, minConcurrency: 0, maxConcurrency: 4, retryPolicy })),
    {
      storage: where,
      durability: argument || 'relaxed',
      results: {},
      history: {},
      // Some are running at every kill.
      maxCrashes: 4294967295,
    },
  );
  lane.handle('work', async (number, ctx) => {
    tell('run', ctx.id);
    const kind = kindOf(number);
    if (kind === 'fails') throw new Error('always');
    if (kind === 'retries' && ctx.attempt === 1) throw new Error('at first');
    if (kind === 'lasts') await sleep(2);
    return number;
  });
  return lane;
}

function refuse(id, error) {
  if (!isFaulty || error.code !== 'STORAGE_ERROR') throw error;
  say('refused', id);
}

/** Calls until it is not refused. */
async function untilItDoes(call) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      refuse('all', error);
    }
    await sleep(2);
  }
}

/** A result is there although the storage could not be told; what it knows is what counts. It may not be readable. */
async function isSettled(lane, commandId) {
  if (!isFaulty) return true;
  try {
    return (await lane.history({ commandId })).some(({ event }) => ENDS.includes(event));
  } catch (error) {
    if (error.code !== 'STORAGE_ERROR') throw error;
    return false;
  }
}

async function submitForEver(lane, mine) {
  for (let number = 0; ; number += 1) {
    const id = `${process.pid}.${began}-${mine}-${number}`;
    const delayMs = kindOf(number) === 'delayed' ? 3 : undefined;
    let handle;
    try {
      handle = lane.enqueue(number % 2 === 0 ? 'even' : 'odd', 'work', number, { id, delayMs });
      await handle.accepted();
    } catch (error) {
      refuse(id, error);
      // A refusal may come at once; the others have their turn.
      await new Promise(setImmediate);
      continue;
    }
    say('acknowledged', id);
    // Two in three are awaited; the rest heap up.
    if (number % 3 === 0) continue;
    await handle.result().catch(() => {});
    if (await isSettled(lane, id)) say('settled', id);
  }
}

const tasks = {
  /** Works until it is killed. */
  async work() {
    const lane = await untilItDoes(() => queue(directory, say));
    await untilItDoes(() => lane.startAsync());
    for (let mine = 0; mine < TASKS; mine += 1) submitForEver(lane, mine);
  },

  /** Restarts the queue, lets it run empty, and says what has become of the commands that it is asked for. */
  async restart() {
    const asked = JSON.parse(fs.readFileSync(`${directory}.asked`, 'utf8'));
    const runs = {};
    const lane = queue(directory, (_, id) => (runs[id] = (runs[id] || 0) + 1));
    const settled = [];
    for (const id of asked) if ((await lane.find(id)) !== null) settled.push(id);
    await lane.startAsync();
    await lane.drainAsync(60_000);
    const results = {};
    for (const id of asked) {
      const handle = await lane.find(id);
      results[id] = handle === null ? 'lost' : await handle.result().catch((error) => error.code);
    }
    const letters = (await lane.deadLetters.list()).map(({ commandId }) => commandId);
    await lane.deadLetters.discard();
    const ends = {};
    for (const { event, commandId } of await lane.history()) {
      if (ENDS.includes(event)) ends[commandId] = (ends[commandId] || 0) + 1;
    }
    const { pending } = await lane.shutdownWithin(0);
    const unclaimed = await lane.unclaimed();
    fs.writeFileSync(`${directory}.found`, JSON.stringify({ runs, settled, results, letters, ends, pending, unclaimed }));
  },

  /** One of its commands kills it. */
  async poison() {
    const isFirst = !fs.existsSync(`${directory}/lanes.db`);
    const lane = Lane.withLanes([{ laneId: 'only', priority: 0, maxConcurrency: 1 }], {
      storage: directory,
      maxCrashes: argument && Number(argument),
    });
    lane.handle('work', (payload, ctx) => {
      say('run', ctx.id);
      if (payload === 'poison') process.kill(process.pid, 'SIGKILL');
      return payload;
    });
    if (isFirst) {
      const handles = ['good', 'poison', 'good'].map((each, n) => lane.enqueue('only', 'work', each, { id: 'abc'[n] }));
      await Promise.all(handles.map((handle) => handle.accepted()));
    }
    lane.start();
    await lane.drainAsync(60_000);
  },

  /** Ends while its command runs: in it, later, or by an error that nobody catches. */
  async leaves() {
    const lane = new Lane({ storage: directory });
    lane.handle('work', async (_, ctx) => {
      say('run', ctx.id);
      if (argument === 'now') process.exit(0);
      if (argument === 'later') setImmediate(() => process.exit(0));
      else setImmediate(() => Promise.reject(new Error('an error of this test')));
      await new Promise(() => {});
    });
    if (!fs.existsSync(`${directory}/left`)) {
      await lane.enqueue('query', 'work', null, { id: 'a' }).accepted();
      fs.writeFileSync(`${directory}/left`, '');
    }
    lane.start();
    setInterval(() => {}, 1000);
  },

  /** Runs what is there and ends by itself: nobody waits for anything. */
  async consumes() {
    const lane = Lane.withLanes([{ laneId: 'one', priority: 0, maxConcurrency: 1 }], { storage: directory });
    lane.handle('work', async (payload, ctx) => {
      await sleep(1);
      say('run', ctx.id);
    });
    const [submits, starts] = argument.split(' ');
    for (let n = 0; n < Number(submits); n += 1) lane.enqueue('one', 'work', n);
    if (starts === 'never') return;
    if (starts === 'start') lane.start();
    else await lane.startAsync();
  },

  /** Submits what the next process runs, and ends by itself without waiting for anything. */
  async submits() {
    const lane = new Lane({ storage: directory });
    lane.handle('work', () => console.error('it was not started'));
    for (const n of [1, 2, 3]) lane.enqueue('query', 'work', { n, when: new Date(0) }, { id: `w${n}`, metadata: { n } });
    lane.enqueue('query', 'other', '"text"', { id: 'o' });
    // More than the disk can take while the process ends.
    for (let n = 0; n < MANY; n += 1) lane.enqueue('session', 'many', JSON.stringify('x'.repeat(1000)));
  },
};

if (require.main === module) {
  tasks[task]().catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

module.exports = { MANY, kindOf };
