'use strict';

// The other process of faults.test.js:  node faulty-process.js TASK DIRECTORY [ARGUMENT]
//
// Its storage fails for a while. It says what was acknowledged and what was refused.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');

const { Lane, LaneError, inspect } = require('@a3s-lab/lane');
const { fill } = require('./faults.js');
const { eventually } = require('./support.js');

const [, , task, directory, argument] = process.argv;

const LARGE = 'x'.repeat(3000);

/** Says what happened: a line in one write, which a pipe takes whole. */
function say(step, id) {
  fs.writeSync(1, `\n=${step} ${id}\n`);
}

function queue(tell) {
  const lane = Lane.withLanes([{ laneId: 'one', priority: 0, maxConcurrency: 1 }], { storage: directory, results: {} });
  lane.handle('work', (_, ctx) => {
    tell('run', ctx.id);
    return ctx.id;
  });
  return lane;
}

/** A disk without space. */
const full = {
  filler: path.join(directory, '..', 'filler'),
  begin() {
    fill(this.filler);
  },
  end() {
    fs.unlinkSync(this.filler);
  },
};

/** Calls of the operating system fail while there is a file. */
const failing = {
  begin: () => fs.writeFileSync(process.env.FAIL_WHILE, ''),
  end: () => fs.unlinkSync(process.env.FAIL_WHILE),
};

function isStorageError(error) {
  assert.ok(error instanceof LaneError, String(error && error.stack));
  assert.equal(error.code, 'STORAGE_ERROR', error.message);
  say('refused', error.message);
}

/** Calls until it is refused, which it must be by a clear error. */
async function refused(call) {
  for (let times = 0; times < 300; times += 1) {
    try {
      await call();
    } catch (error) {
      isStorageError(error);
      return;
    }
  }
  assert.fail('nothing was refused');
}

async function submits(lane, calls) {
  let number = 0;
  const next = () => `large-${(number += 1)}`;
  await refused(async () => {
    const id = next();
    await lane.enqueue('one', 'work', LARGE, { id }).accepted();
    say('acknowledged', id);
  });
  await refused(async () => {
    const ids = [next(), next()];
    const answers = lane.submitMany('one', ids.map((id) => ({ commandType: 'work', payload: LARGE, options: { id } })));
    // A refusal may come at once.
    const accepted = async (answer) => {
      if (answer instanceof LaneError) throw answer;
      await answer.accepted();
    };
    const told = await Promise.allSettled(answers.map(accepted));
    const errors = told.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
    assert.ok(errors.length === 0 || errors.length === 2, 'all or none');
    if (errors.length > 0) throw errors[0];
    for (const id of ids) say('acknowledged', id);
  });
  // Its promise is that of the result, which does not come while the lane is paused.
  await refused(async () => {
    const id = next();
    let isRefused = false;
    const result = lane.submitAsync('one', 'work', LARGE, { id });
    result.catch(() => (isRefused = true));
    await eventually(async () => isRefused || lane.find(id), 'it is accepted or refused');
    if (isRefused) await result;
    say('acknowledged', id);
  });
}

const tasks = {
  async work() {
    const fault = argument === 'full' ? full : failing;
    const lane = queue(say);
    lane.start();
    await lane.submitAsync('one', 'work', null, { id: 'before' });
    say('settled', 'before');
    lane.pauseLane('one');
    const waiting = lane.enqueue('one', 'work', null, { id: 'waiting' });
    await waiting.accepted();
    say('acknowledged', 'waiting');

    fault.begin();
    await submits(lane);
    try {
      await new Lane({ storage: path.join(directory, '..', 'other') }).close();
    } catch (error) {
      isStorageError(error);
    }
    lane.resumeLane('one');
    // Its result comes, whatever the storage says.
    assert.equal(await waiting.result(), 'waiting');
    lane.pauseLane('one');
    fault.end();

    const other = new Lane({ storage: path.join(directory, '..', 'other') });
    await other.enqueue('query', 'work', 'null', { id: 'elsewhere' }).accepted();
    await other.close();
    const after = lane.enqueue('one', 'work', LARGE, { id: 'after' });
    await after.accepted();
    say('acknowledged', 'after');
    lane.resumeLane('one');
    await after.result();
    await lane.drainAsync(30_000);
    say('settled', 'after');
    // What has settled in the meantime the storage knows by now.
    await eventually(async () => (await inspect(directory)).pending === 0, 'nothing is pending');
    say('settled', 'waiting');
    lane.pauseLane('one');
    await lane.enqueue('one', 'work', null, { id: 'last' }).accepted();
    say('acknowledged', 'last');
    process.kill(process.pid, 'SIGKILL');
  },

  /** A call fails somewhere. */
  async anywhere() {
    const named = (error) => {
      assert.ok(error instanceof LaneError && error.code === 'STORAGE_ERROR', String(error));
      assert.match(error.message, /lanes\.db|running/);
    };
    let lane;
    try {
      lane = queue(say);
      lane.start();
    } catch (error) {
      named(error);
      say('refused', 'all');
      process.kill(process.pid, 'SIGKILL');
    }
    for (let number = 0; number < 6; number += 1) {
      const id = `id-${number}`;
      let handle;
      try {
        handle = lane.enqueue('one', 'work', 'x'.repeat(50_000), { id });
        await handle.accepted();
      } catch (error) {
        named(error);
        say('refused', id);
        continue;
      }
      say('acknowledged', id);
      assert.equal(await handle.result(), id);
    }
    process.kill(process.pid, 'SIGKILL');
  },

  /** Says what runs, and what has become of the commands that it is asked for. */
  async restart() {
    const ran = [];
    const lane = queue((_, id) => ran.push(id));
    await lane.startAsync();
    await lane.drainAsync(60_000);
    const results = {};
    for (const id of JSON.parse(argument)) {
      const handle = await lane.find(id);
      results[id] = handle === null ? null : await handle.result();
    }
    say('found', JSON.stringify({ ran, results }));
    await lane.close();
  },

  /** Says how long the log is after each command, until it is killed. */
  async acknowledges() {
    const lane = queue(say);
    for (let number = 0; number < 10; number += 1) {
      await lane.enqueue('one', 'work', number, { id: String(number) }).accepted();
      say('acknowledged', `${number} ${fs.statSync(path.join(directory, 'lanes.db-wal')).size}`);
    }
    process.kill(process.pid, 'SIGKILL');
  },

  /** Submits 20 commands one after the other, with a durability. */
  async durability() {
    const options = argument === '' ? {} : { durability: argument };
    const lane = Lane.withLanes([{ laneId: 'one', priority: 0 }], { storage: directory, ...options });
    for (let number = 0; number < 20; number += 1) await lane.enqueue('one', 'unhandled', '"x"').accepted();
    process.kill(process.pid, 'SIGKILL');
  },

  /** Submits so many commands at once, with and without handlers. */
  async batch() {
    const lane = queue(() => {});
    for (const commandType of ['work', 'unhandled']) {
      const commands = Array.from({ length: Number(argument) }, () => ({ commandType, payload: '"x"' }));
      await Promise.all(lane.submitMany('one', commands).map((answer) => answer.accepted()));
    }
    process.kill(process.pid, 'SIGKILL');
  },
};

tasks[task]().catch((error) => {
  console.error(error);
  process.exit(1);
});
