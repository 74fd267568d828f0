'use strict';

// A queue that is killed around a fault of its disk goes on where it was: what was acknowledged settles, once. As in killed.test.js,
// but from a random instant on the disk is full, or calls of the operating system fail. A submission is refused or it is kept;
// the process neither ends by itself nor hangs, and goes on when the disk is well again. The queue is restarted on such a disk.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { fill, library, smallDisk } = require('./faults.js');
const { Said, Worker, add, noKill, play, restart } = require('./kills.js');
const { sleep, temporary } = require('./support.js');

/** Per interpreter. */
const KILLS = 25;

/** The longest time between two events that a fault or a process is given. */
const SPAN_MS = 40;

/** How many submit, in one process. */
const SUBMITTERS = 4;

const EIO = '5';
const ENOSPC = '28';

/** A disk without space but for a little, or none. */
function full(disk, random) {
  const filler = path.join(disk, 'filler');
  const left = random.of([0, random.below(400_000)]);
  return { environment: {}, begin: () => fill(filler, left), end: () => fs.rmSync(filler, { force: true }) };
}

/** All calls fail, in some processes also a few at another time. */
function failing(place, random, LD_PRELOAD) {
  const FAIL_WHILE = path.join(place, 'fails');
  const few = { FAIL_AT: String(1 + random.below(200)), FAIL_COUNT: random.of(['1', '3']) };
  const environment = { ...random.of([{}, few]), LD_PRELOAD, FAIL_WHILE, FAIL_ERRNO: random.of([EIO, ENOSPC]) };
  return { environment, begin: () => fs.writeFileSync(FAIL_WHILE, ''), end: () => fs.rmSync(FAIL_WHILE, { force: true }) };
}

function hasRefused(steps) {
  return steps.some(([step]) => step === 'refused');
}

/** Each who submits was acknowledged, and has seen a command settle. */
function allGoOn(steps) {
  const told = steps.filter(([step]) => step === 'acknowledged' || step === 'settled');
  return new Set(told.map(([step, id]) => `${step} ${id.slice(0, id.lastIndexOf('-'))}`)).size === 2 * SUBMITTERS;
}

/** One process and its end; returns whether that was before the fault, during it, or after. */
async function killOne(directory, durability, fault, random, said) {
  const plan = random.of(['any', 'during', 'after']);
  // From its beginning: it opens the storage with the fault.
  const isEarly = random.below(5) === 0;
  const [begins, lasts, lives] = [random.below(SPAN_MS), random.below(SPAN_MS), random.below(SPAN_MS)];
  if (isEarly) fault.begin();
  const worker = new Worker('work', directory, { args: [durability, 'faulty'], environment: fault.environment });
  const isBefore = plan === 'any' && !isEarly && lives < begins;
  if (!isEarly) await worker.until((steps) => steps.length > 0);
  if (!isEarly && !isBefore) {
    await sleep(begins);
    fault.begin();
  }
  if (plan === 'during') await worker.until(hasRefused);
  if (plan === 'after') {
    await sleep(lasts);
    fault.end();
    const already = worker.steps.length;
    await worker.until((steps) => allGoOn(steps.slice(already)));
  }
  // Also before it has come to work.
  await sleep(isEarly && plan === 'any' ? lives * 5 : lives);
  said.hear(await worker.kill());
  fault.end();
  if (isBefore) return 'before';
  return plan === 'after' ? 'after' : 'during';
}

/** Kills so many processes, each with a fault of its own, and compares. */
async function killMany(rounds, place, random, faultOf) {
  const sum = {};
  let said = new Said();
  let directory;
  for (let round = 0; round < rounds; round += 1) {
    directory = directory || path.join(place, String(round));
    const durability = random.of(['full', 'relaxed', 'relaxed', 'relaxed']);
    const when = await killOne(directory, durability, faultOf(random), random, said);
    add(sum, { kills: 1, [when]: 1 });
    // Now and then two are killed before the queue is looked at.
    if (round + 1 < rounds && random.below(3) === 0) continue;
    await restart(directory, said);
    add(sum, said.totals());
    said = new Said();
    // The next one needs the space.
    for (const each of [directory, `${directory}.asked`, `${directory}.found`]) fs.rmSync(each, { recursive: true });
    directory = undefined;
  }
  return sum;
}

test('i8_durable_ack_on_a_full_disk', { skip: noKill }, async (t) => {
  const disks = [0, 1].map(() => ({ place: path.join(temporary(), 'disk') }));
  try {
    for (const disk of disks) {
      Object.assign(disk, smallDisk(disk.place, '8m'));
      if (disk.skip !== undefined) return t.skip(disk.skip);
    }
    const free = disks.map(({ place }) => place);
    const sum = await play(KILLS, (rounds, random) => {
      const place = free.pop();
      return killMany(rounds, place, random, () => full(place, random));
    });
    assert.ok(sum.refusals > 0, 'the disk was never full');
  } finally {
    for (const { unmount } of disks) if (unmount !== undefined) unmount();
  }
});

test('i8_durable_ack_with_io_errors', { skip: noKill }, async (t) => {
  const { skip, library: preload } = library();
  if (skip !== undefined) return t.skip(skip);
  const sum = await play(KILLS, (rounds, random) => {
    const place = temporary();
    return killMany(rounds, place, random, () => failing(place, random, preload));
  });
  assert.ok(sum.refusals > 0, 'no call has failed');
});
