'use strict';

// Handlers that workers.test.js has run in threads.

const { BlockList } = require('net');
const { threadId } = require('worker_threads');

const { LaneError } = require('@a3s-lab/lane');

exports.where = () => threadId;

exports.add = async ({ a, b }, ctx) => {
  const { id, laneId, attempt, metadata, deadline, timeLeftMs } = ctx;
  return { sum: a + b, id, laneId, attempt, metadata, hasTime: deadline instanceof Date && timeLeftMs > 0 };
};

exports.fails = (how) => {
  if (how === 'unrecoverable') throw LaneError.unrecoverable('in vain', { cause: 'of it' });
  if (how === 'function') return () => {};
  if (how === 'exit') process.exit(3);
  throw new RangeError('too far');
};

exports.waits = (_, { signal }) =>
  new Promise((resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

exports.slow = (value) => new Promise((resolve) => setTimeout(resolve, 100, value));

/** Never returns, and hears nothing. */
exports.spins = (seconds) => {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end);
};

exports.spinsUntilStopped = (_, ctx) => {
  while (ctx.stopReason === undefined);
  return ctx.stopReason;
};

exports.reports = async (_, ctx) => {
  for (const part of ['a', 'b']) ctx.emit(part);
  ctx.progress({ done: 1 });
  ctx.heartbeat();
  ctx.settleCost(1);
  return 'end';
};

/** From then on its thread can make no such object of a message. */
exports.reads = (value) => {
  const symbols = Object.getOwnPropertySymbols(BlockList.prototype);
  for (const symbol of symbols) if (String(symbol).includes('deserialize')) delete BlockList.prototype[symbol];
  return value;
};
