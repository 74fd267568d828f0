'use strict';

const assert = require('node:assert/strict');
const { AsyncLocalStorage } = require('async_hooks');
const path = require('path');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');

const WORK = path.join(__dirname, 'modules', 'work.js');

function started(config) {
  const lane = Lane.withLanes([{ laneId: 'one', priority: 0, ...config }]);
  lane.start();
  return lane;
}

test('the first middleware is the outermost', async () => {
  const lane = started();
  const story = [];
  for (const name of ['a', 'b']) {
    lane.use(async (payload, ctx, next) => {
      story.push(`${name} in`);
      const result = await next();
      story.push(`${name} out`);
      return result;
    });
  }
  lane.handle('x', (payload) => {
    story.push(`handler ${payload}`);
    return payload + 1;
  });
  assert.equal(await lane.submitAsync('one', 'x', 1), 2);
  assert.deepEqual(story, ['a in', 'b in', 'handler 1', 'b out', 'a out']);
});

test('a middleware has the payload and the context of the attempt, and may change payload and result', async () => {
  const lane = started();
  const payload = { n: 1 };
  lane.use(async function (given, ctx, next) {
    assert.equal(this, undefined);
    assert.equal(given, payload);
    assert.deepEqual([ctx.id, ctx.laneId, ctx.attempt, ctx.metadata], ['id', 'one', 1, { user: 7 }]);
    return [await next({ n: 2 })];
  });
  lane.handle('x', function (given, ctx) {
    assert.equal(this, undefined);
    return [given.n, ctx.id];
  });
  assert.deepEqual(await lane.submitAsync('one', 'x', payload, { id: 'id', metadata: { user: 7 } }), [[2, 'id']]);
});

test('undefined is a payload that a middleware may give', async () => {
  const lane = started();
  lane.use((payload, ctx, next) => next(undefined));
  lane.handle('x', (payload) => payload === undefined);
  assert.equal(await lane.submitAsync('one', 'x', 1), true);
});

test('a middleware may answer without the handler', async () => {
  const lane = started();
  lane.use((payload, ctx, next) => (payload === 'cached' ? 'answer' : next()));
  lane.handle('x', () => assert.fail('it was not to be called'));
  assert.equal(await lane.submitAsync('one', 'x', 'cached'), 'answer');
});

test('what a middleware throws fails the attempt, and each attempt goes through it', async () => {
  const lane = started({ retryPolicy: { maxRetries: 3, initialDelayMs: 0 } });
  const attempts = [];
  const thrown = new Error('refused');
  lane.use(async (payload, ctx, next) => {
    attempts.push(ctx.attempt);
    if (payload === 'forbidden') throw LaneError.unrecoverable('forbidden');
    if (ctx.attempt < 3) throw thrown;
    return next();
  });
  lane.handle('x', () => 'done');
  assert.equal(await lane.submitAsync('one', 'x'), 'done');
  assert.deepEqual(attempts, [1, 2, 3]);
  await assert.rejects(lane.submitAsync('one', 'x', 'forbidden'), { code: 'UNRECOVERABLE' });
});

test('a middleware sees what the handler throws, synchronously or not, and may make up for it', async () => {
  const lane = started();
  const seen = [];
  lane.use(async (payload, ctx, next) => {
    try {
      return await next();
    } catch (error) {
      seen.push(error);
      return 'mended';
    }
  });
  const errors = [new Error('now'), new Error('later')];
  lane.handle('now', () => {
    throw errors[0];
  });
  lane.handle('later', async () => {
    throw errors[1];
  });
  assert.equal(await lane.submitAsync('one', 'now'), 'mended');
  assert.equal(await lane.submitAsync('one', 'later'), 'mended');
  assert.deepEqual(seen, errors);
});

test('next may be called once', async () => {
  const lane = started();
  let calls = 0;
  lane.use(async (payload, ctx, next) => {
    await next();
    return next();
  });
  lane.handle('x', () => (calls += 1));
  await assert.rejects(lane.submitAsync('one', 'x'), { code: 'COMMAND_ERROR', message: /next\(\) was called before/ });
  assert.equal(calls, 1);
});

test('an attempt has the middleware that was there when it began', async () => {
  const lane = started();
  lane.handle('x', async () => {
    lane.use(async (payload, ctx, next) => `[${await next()}]`);
    return 'x';
  });
  assert.equal(await lane.submitAsync('one', 'x'), 'x');
  assert.equal(await lane.submitAsync('one', 'x'), '[x]');
});

test('middleware runs around handlers in threads, in this thread', async () => {
  const lane = started();
  const seen = [];
  lane.use(async (payload, ctx, next) => {
    const result = await next({ a: payload, b: 1 });
    seen.push([ctx.id, result.sum]);
    return result;
  });
  lane.handle('add', { module: WORK, export: 'add', threads: 1 });
  assert.equal((await lane.submitAsync('one', 'add', 4, { id: 'id' })).sum, 5);
  assert.deepEqual(seen, [['id', 5]]);
});

test('commands without a handler have no middleware', async () => {
  const lane = started();
  lane.use(() => assert.fail('it was not to be called'));
  assert.equal(await lane.submitAsync('one', 'echo', 1), 1);
});

test('AsyncLocalStorage that a middleware opens reaches the handler, and stays in its command', async () => {
  const lane = started();
  const storage = new AsyncLocalStorage();
  lane.use((payload, ctx, next) => storage.run(payload, next));
  lane.handle('x', async () => {
    await null;
    return storage.getStore();
  });
  const results = await Promise.all([1, 2, 3].map((n) => lane.submitAsync('one', 'x', n)));
  assert.deepEqual(results, [1, 2, 3]);
});

test('a middleware is a function', () => {
  assert.throws(() => new Lane().use({}), { name: 'TypeError', message: 'middleware must be a function (got object)' });
});
