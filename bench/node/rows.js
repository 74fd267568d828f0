'use strict';

// What is measured. A contender is a function from a number of commands to a sample.

const { spawnSync } = require('child_process');
const path = require('path');

const Bottleneck = require('bottleneck');
const fastq = require('fastq');

const { Lane } = require(path.join(__dirname, '..', '..'));
const { NativeClock, NativeLane } = require(path.join(__dirname, '..', '..', 'npm', 'native.js'));
const waiting = require('./waiting.js');

const CONCURRENCY = 10;
const URGENCIES = [0, 1, 2, 3, 4, 5];

const nothing = async () => {};

/** Commands per second: from the first call to the last result. */
async function rate(count, submit) {
  const begin = process.hrtime.bigint();
  const all = new Array(count);
  for (let n = 0; n < count; n += 1) all[n] = submit(n);
  await Promise.all(all);
  return count / (Number(process.hrtime.bigint() - begin) / 1e9);
}

/** Microseconds from the call to the continuation after `await`, one command after the other. */
async function latency(count, quantile, submit) {
  const times = new Float64Array(count);
  for (let n = 0; n < count; n += 1) {
    const begin = performance.now();
    await submit(n);
    times[n] = (performance.now() - begin) * 1000;
  }
  return times.sort()[Math.floor(count * quantile)];
}

function lanes(ids) {
  const configs = ids.map((priority) => ({ laneId: `p${priority}`, priority, minConcurrency: 0, maxConcurrency: CONCURRENCY }));
  const lane = Lane.withLanes(configs, ids.length > 1 ? { maxConcurrency: CONCURRENCY } : {});
  lane.handle('nothing', nothing);
  lane.start();
  return lane;
}

async function rows() {
  const { default: PQueue } = await import('p-queue');
  // One queue for all rounds, as in a program that runs for long. The first round has filled it once.
  const single = lanes([0]);
  const six = lanes(URGENCIES);
  const pQueue = new PQueue({ concurrency: CONCURRENCY });
  const fast = fastq.promise(nothing, CONCURRENCY);
  const bottleneck = new Bottleneck({ maxConcurrent: CONCURRENCY });
  const latencies = (quantile) => [
    ['a3s-lane', (count) => latency(count / 4, quantile, () => single.submitAsync('p0', 'nothing'))],
    ['p-queue', (count) => latency(count / 4, quantile, () => pQueue.add(nothing))],
    ['fastq', (count) => latency(count / 4, quantile, () => fast.push())],
  ];
  return [
    {
      name: 'no-op async handlers, concurrency 10: submit all, await all',
      unit: 'per second',
      budget: { against: 'p-queue', ratio: 1 },
      contenders: [
        ['a3s-lane', (count) => rate(count, (n) => single.submitAsync('p0', 'nothing', n))],
        ['a3s-lane, submitMany', (count) => many(count, single)],
        ['p-queue', (count) => rate(count, () => pQueue.add(nothing))],
        ['fastq', (count) => rate(count, (n) => fast.push(n))],
        // It takes far longer per command the more wait.
        ['bottleneck', (count) => rate(count / 100, () => bottleneck.schedule(nothing))],
      ],
    },
    {
      name: 'the same with six priorities',
      unit: 'per second',
      budget: { against: 'p-queue', ratio: 1 },
      contenders: [
        ['a3s-lane', (count) => rate(count, (n) => six.submitAsync(`p${n % 6}`, 'nothing', n))],
        ['p-queue', (count) => rate(count, (n) => pQueue.add(nothing, { priority: n % 6 }))],
        ['bottleneck', (count) => rate(count / 100, (n) => bottleneck.schedule({ priority: n % 6 }, nothing))],
      ],
    },
    { name: 'await of one command, p50', unit: 'microseconds', budget: { against: 'p-queue', most: 6 }, contenders: latencies(0.5) },
    { name: 'await of one command, p99', unit: 'microseconds', contenders: latencies(0.99) },
    { name: 'one crossing', unit: 'microseconds', contenders: crossings() },
    memory('heap of JavaScript for each pending command', 'heap'),
    memory('resident memory for each pending command', 'rss'),
  ];
}

/** One call into the native half: the exchange that says nothing and brings nothing, and the least that there is. */
function crossings() {
  const lane = new NativeLane();
  const exchange = lane.host(() => {}, new Uint32Array(1), Buffer.from(new Int32Array(2).buffer));
  const clock = new NativeClock();
  const spent = (count, call) => {
    const begin = process.hrtime.bigint();
    for (let n = 0; n < count; n += 1) call();
    return Number(process.hrtime.bigint() - begin) / 1e3 / count;
  };
  return [
    ['a3s-lane', (count) => spent(count, exchange)],
    ['a call with a number', (count) => spent(count, () => clock.elapsedMs())],
  ];
}

/** Bytes for each pending command, each sample in a process of its own. */
function memory(name, field) {
  const sample = (contender) => (count) => {
    // Of few commands pages and pools would be the most part.
    const args = ['--expose-gc', path.join(__dirname, 'memory.js'), contender, String(contender === 'bottleneck' ? count / 10 : count)];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout)[field];
  };
  const contenders = Object.keys(waiting.contenders).map((contender) => [contender, sample(contender)]);
  return { name, unit: 'bytes', rounds: 1, contenders };
}

/** As `rate`, a thousand commands to a call, with handles. */
async function many(count, lane) {
  const begin = process.hrtime.bigint();
  const all = [];
  for (let n = 0; n < count; n += 1000) {
    const commands = Array.from({ length: 1000 }, (_, index) => ({ commandType: 'nothing', payload: n + index }));
    for (const handle of lane.submitMany('p0', commands)) all.push(handle.result());
  }
  await Promise.all(all);
  return count / (Number(process.hrtime.bigint() - begin) / 1e9);
}

module.exports = { rows };
