// What a program does with handlers, run where nothing but the package is installed, also by other runtimes than Node.js.

import assert from 'assert';
import { AsyncLocalStorage } from 'async_hooks';
import { writeFileSync } from 'fs';

import { Lane, LaneError } from '@a3s-lab/lane';
import { createLane, ManualClock } from '@a3s-lab/lane/testing';

const runtime = globalThis.Bun ? `Bun ${Bun.version}` : globalThis.Deno ? `Deno ${Deno.version.deno}` : `Node.js ${process.version}`;

const lane = Lane.withLanes([
  { laneId: 'work', priority: 0, maxConcurrency: 2, retryPolicy: { maxRetries: 1, initialDelayMs: 1 } },
]);
const storage = new AsyncLocalStorage();
lane.handle('greet', async ({ name }, ctx) => ({ hello: name, attempt: ctx.attempt, user: storage.getStore() }));
lane.handle('fail', async () => {
  throw new RangeError('too far');
});
lane.handle('wait', (_, { signal }) => new Promise((resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))));
lane.handle('count', async (to, ctx) => {
  for (let n = 0; n < to; n += 1) ctx.emit(n);
  return to;
});
const events = lane.events({ keys: ['queue.command.completed', 'queue.shutdown.complete'] });
lane.start();

const greeting = storage.run('ann', () => lane.submitAsync('work', 'greet', { name: 'Ann' }));
assert.deepStrictEqual(await greeting, { hello: 'Ann', attempt: 1, user: 'ann' });

const error = await lane.submitAsync('work', 'fail').catch((error) => error);
assert.ok(error instanceof LaneError && error.cause instanceof RangeError);
assert.strictEqual(error.code, 'COMMAND_ERROR');
assert.match(error.cause.stack, /handlers\.mjs/);

const waits = lane.enqueue('work', 'wait');
setTimeout(() => waits.cancel(), 10);
assert.strictEqual(await waits.result().catch(({ code }) => code), 'CANCELLED');

const parts = [];
for await (const part of lane.enqueue('work', 'count', 3)) parts.push(part);
assert.deepStrictEqual(parts, [0, 1, 2]);

const many = lane.submitMany('work', [1, 2, 3].map((payload) => ({ commandType: 'count', payload })));
assert.deepStrictEqual(await Promise.all(many), [1, 2, 3]);

writeFileSync('double.mjs', 'export default (n) => n * 2;\n');
lane.handle('double', { module: 'double.mjs', threads: 1 });
assert.strictEqual(await lane.submitAsync('work', 'double', 4), 8);
lane.removeHandler('double'); // ends its thread

const clock = new ManualClock();
const steered = createLane({ clock });
steered.handle('later', () => 'done');
steered.start();
const later = steered.submitAsync('query', 'later', null, { delayMs: 86_400_000 });
clock.advance(86_400_000);
assert.strictEqual(await later, 'done');

lane.shutdown();
await lane.drainAsync(30_000);
let completed = 0;
for await (const { key } of events) if (key === 'queue.command.completed') completed += 1;
assert.strictEqual(completed, 6);
console.log(`handlers passed on ${runtime}`);
