'use strict';

// What speed rests on, counted instead of timed: how often JavaScript calls the native half, how often it is woken by it, and how
// many native objects there are. A crossing costs as much as a good part of a command.

const assert = require('node:assert/strict');
const test = require('node:test');

const native = require('../native.js');

/** Calls into the native half since the last look, by name. */
let calls = {};
let wakes = 0;

for (const [name, type] of Object.entries(native)) {
  if (typeof type !== 'function' || type.prototype === undefined) continue;
  for (const method of Object.getOwnPropertyNames(type.prototype)) {
    const original = type.prototype[method];
    if (method === 'constructor' || typeof original !== 'function') continue;
    const counts = `${name}.${method}`;
    type.prototype[method] = function (...args) {
      calls[counts] = (calls[counts] || 0) + 1;
      if (method !== 'host') return original.apply(this, args);
      const [wake] = args;
      args[0] = () => {
        wakes += 1;
        wake();
      };
      const exchange = original.apply(this, args);
      return () => {
        const counts = 'NativeLane.exchange';
        calls[counts] = (calls[counts] || 0) + 1;
        return exchange();
      };
    };
  }
}

const { Lane } = require('@a3s-lab/lane');

/** What `work` needs: calls by name, their sum, and wake-ups. */
async function counted(work) {
  calls = {};
  wakes = 0;
  await work();
  const sum = Object.values(calls).reduce((all, count) => all + count, 0);
  return { calls, sum, wakes };
}

function started(maxConcurrency = 10) {
  const lane = Lane.withLanes([{ laneId: 'work', priority: 1, minConcurrency: 0, maxConcurrency }]);
  lane.handle('nothing', async (payload) => payload);
  lane.start();
  return lane;
}

/** Fails with all counts when `sum` is above `most`. */
function atMost(most, count) {
  assert.ok(count.sum <= most, `more than ${most} calls: ${JSON.stringify(count)}`);
  assert.equal(count.wakes, 0, 'a program that submits and runs on one thread is not woken');
}

const COUNT = 10_000;

test('many commands share their crossings', async () => {
  const lane = started();
  const submit = async () => {
    const all = Array.from({ length: COUNT }, (_, n) => lane.submitAsync('work', 'nothing', n));
    assert.deepEqual((await Promise.all(all)).length, COUNT);
  };
  await submit();
  // Ten run at once: each ten are told and taken together. They are submitted a thousand at a time.
  atMost(COUNT / 10 + COUNT / 1000 + 10, await counted(submit));
});

test('a wider lane needs fewer crossings', async () => {
  const lane = started(1000);
  const submit = () => Promise.all(Array.from({ length: COUNT }, (_, n) => lane.submitAsync('work', 'nothing', n)));
  await submit();
  atMost(COUNT / 100, await counted(submit));
});

test('a command that is awaited alone needs two: it is submitted and begins, it ends and has settled', async () => {
  const lane = started();
  await lane.submitAsync('work', 'nothing');
  const count = await counted(async () => {
    for (let n = 0; n < 100; n += 1) await lane.submitAsync('work', 'nothing', n);
  });
  atMost(200, count);
});

test('submitMany is one crossing more for each call, and makes no native object', async () => {
  const lane = started();
  const submit = async () => {
    const all = [];
    for (let n = 0; n < 10; n += 1) {
      const commands = Array.from({ length: COUNT / 10 }, (_, payload) => ({ commandType: 'nothing', payload }));
      for (const handle of lane.submitMany('work', commands)) all.push(handle.result());
    }
    await Promise.all(all);
  };
  await submit();
  const count = await counted(submit);
  atMost(COUNT / 10 + 10 + 10, count);
  assert.equal(count.calls['NativeLane.handleOf'], undefined);
  assert.deepEqual(Object.keys(count.calls).filter((name) => !name.startsWith('NativeLane.')), []);
});

test('what a handler does not look at is not asked for', async () => {
  const lane = started();
  lane.handle('looks', async (_, ctx) => void [ctx.attempt, ctx.laneId]);
  lane.handle('watches', async (_, ctx) => void [ctx.signal, ctx.signal, ctx.stopReason]);
  lane.handle('knows', async (_, ctx) => void [ctx.id, ctx.metadata, ctx.deadline, ctx.timeLeftMs]);
  const needs = async (commandType) => {
    await lane.submitAsync('work', commandType);
    const { sum } = await counted(() => lane.submitAsync('work', commandType));
    return sum - 2;
  };
  assert.equal(await needs('looks'), 0);
  assert.ok((await needs('watches')) <= 2);
  assert.equal(await needs('knows'), 1);
});

test('six lanes share their crossings too', async () => {
  const configs = [0, 1, 2, 3, 4, 5].map((priority) => ({ laneId: `p${priority}`, priority, minConcurrency: 0, maxConcurrency: 10 }));
  const lane = Lane.withLanes(configs, { maxConcurrency: 10 });
  lane.handle('nothing', async (payload) => payload);
  lane.start();
  const submit = () => Promise.all(Array.from({ length: COUNT }, (_, n) => lane.submitAsync(`p${n % 6}`, 'nothing', n)));
  await submit();
  atMost(COUNT / 10 + COUNT / 1000 + 10, await counted(submit));
});

test('what cannot be acted upon is an error with its code, and the next exchange goes on', () => {
  const inbox = new Uint32Array(4);
  const exchange = new native.NativeLane().host(() => {}, inbox, Buffer.alloc(8));
  inbox.set([1, 99, 0, 0]);
  assert.throws(exchange, { code: 'QUEUE_ERROR', message: /unknown record/ });
  inbox[0] = 0;
  assert.equal(exchange(), null);
});
