'use strict';

// Queues in which everything waits: each is a function that resolves to one that submits so many commands, and returns what a
// program would keep of them.

const path = require('path');

const nothing = async () => {};

function all(count, submit) {
  const kept = new Array(count);
  for (let n = 0; n < count; n += 1) kept[n] = submit(n);
  return kept;
}

function lane() {
  const { Lane } = require(path.join(__dirname, '..', '..'));
  const made = Lane.withLanes([{ laneId: 'p0', priority: 0, maxConcurrency: 10 }]);
  made.handle('nothing', nothing);
  made.start();
  made.pauseLane('p0');
  return made;
}

const contenders = {
  'a3s-lane': async () => {
    const waiting = lane();
    return (count) => all(count, (n) => waiting.submitAsync('p0', 'nothing', n));
  },
  'a3s-lane, submitMany': async () => {
    const waiting = lane();
    return (count) => waiting.submitMany('p0', all(count, (payload) => ({ commandType: 'nothing', payload })));
  },
  'a3s-lane, enqueue': async () => {
    const waiting = lane();
    return (count) => all(count, (n) => waiting.enqueue('p0', 'nothing', n));
  },
  'p-queue': async () => {
    const { default: PQueue } = await import('p-queue');
    const queue = new PQueue({ concurrency: 10, autoStart: false });
    return (count) => all(count, () => queue.add(nothing));
  },
  fastq: async () => {
    const queue = require('fastq').promise(nothing, 10);
    queue.pause();
    return (count) => all(count, (n) => queue.push(n));
  },
  bottleneck: async () => {
    const Bottleneck = require('bottleneck');
    const limiter = new Bottleneck({ maxConcurrent: 1 });
    limiter.schedule(() => new Promise(() => {}));
    return (count) => all(count, () => limiter.schedule(nothing));
  },
};

module.exports = { contenders };
