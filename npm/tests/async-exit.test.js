'use strict';

// How a process with handlers ends: each program must exit by itself, with nothing on stderr.

const assert = require('node:assert/strict');
const test = require('node:test');

const { program } = require('./support.js');

const LANE = `
  const { Lane } = require('@a3s-lab/lane');
  const lane = new Lane();
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  lane.handle('quick', async (n) => n);
  lane.handle('slow', async (n) => { await sleep(50); return n; });
  lane.handle('endless', () => new Promise(() => {}));
  lane.handle('fails', async () => { throw new Error('no'); });
`;
const STARTED = `${LANE} lane.start();`;

async function prints(code, expected, { arrange = (lines) => lines, ...options } = {}) {
  const { status, signal, stdout, stderr } = await program(code, options);
  assert.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: '' });
  assert.deepEqual(arrange(stdout.split('\n').slice(0, -1)), expected);
}

test('a lane with handlers that did nothing', () => prints(STARTED, []));
test('a lane that was never started, with commands and promises', () =>
  prints(
    `${LANE} lane.enqueue('query', 'quick').then(console.log); lane.submitAsync('query', 'quick', 1).then(console.log);
     lane.submitAsync('query', 'quick', 1, { priority: 1 }).then(console.log);`,
    [],
  ));
test('a lane that is never shut down', () =>
  prints(`${STARTED} lane.submitAsync('query', 'slow', 1).then(console.log);`, ['1']));
test('commands that nobody waits for run to their end once they have begun', () =>
  prints(`${STARTED} lane.handle('log', async () => { await null; console.log('ran'); }); lane.enqueue('query', 'log');`, ['ran']));
test('commands that nobody waits for and that have not begun end with the process', () =>
  prints(`${STARTED} lane.enqueue('query', 'quick', 1, { delayMs: 600000 });`, []));
test('results of commands that begin later are waited for', () =>
  prints(`${STARTED} lane.submitAsync('query', 'quick', 1, { delayMs: 50 }).then(console.log);`, ['1']));
test('results of commands that others run are waited for', () =>
  prints(`${STARTED} lane.submitAsync('query', 'echo', 1, { delayMs: 50 }).then(console.log);`, ['1']));
test('a start that comes after the submits', () =>
  prints(`${LANE} lane.submitAsync('query', 'slow', 1).then(console.log); setTimeout(() => lane.start(), 20);`, ['1']));
test('a shut down lane with running and waiting handlers', () =>
  prints(
    `${STARTED} for (let n = 0; n < 15; n += 1) lane.submitAsync('skill', 'slow', n).then(console.log); lane.shutdown();`,
    Array.from({ length: 15 }, (_, n) => String(n)),
  ));
test('a handler that never settles, and the end of the queue', () =>
  prints(
    `${STARTED} lane.submitAsync('query', 'endless').catch(({ code }) => console.log(code));
     setTimeout(() => lane.shutdownWithin(10).then(({ stopped }) => console.log(stopped.length)), 20);`,
    ['QUEUE_ERROR', '1'],
  ));
test('a handler that never settles, and its time limit', () =>
  prints(`${STARTED} lane.submitAsync('query', 'endless', 1, { timeoutMs: 20 }).catch(({ code }) => console.log(code));`, ['TIMEOUT']));
test('live iterators of an open lane', () =>
  prints(
    `${STARTED} const watch = async (name, items) => { for await (const { key } of items) console.log(name, key); };
     watch('events', lane.events()); const handle = lane.enqueue('query', 'quick');`,
    ['events queue.command.submitted', 'events queue.command.started', 'events queue.command.completed'],
  ));
test('live iterators of a lane that ends', () =>
  prints(
    `${STARTED} const watch = async (items, tell) => { for await (const item of items) tell(item); };
     watch(lane.events({ keys: ['queue.shutdown.complete'] }), ({ key }) => console.log(key)).then(() => console.log('events end'));
     lane.events().next();
     const handle = lane.enqueue('query', 'slow', 1);
     watch(handle, console.log).then(() => console.log('chunks end'));
     watch(handle.progress(), console.log); lane.shutdown();`,
    ['chunks end', 'events end', 'queue.shutdown.complete'],
    { arrange: (lines) => lines.sort() },
  ));
test('an iterator that is not read does not hold up the end', () =>
  prints(`${STARTED} const events = lane.events(); lane.enqueue('query', 'quick'); lane.shutdown(); events.next();`, []));
test('process.exit inside a handler', async () => {
  const { status, signal, stderr } = await program(
    `${STARTED} lane.handle('exit', () => process.exit(7)); lane.submitAsync('query', 'endless'); lane.submitAsync('query', 'exit');`,
  );
  assert.deepEqual({ status, signal, stderr }, { status: 7, signal: null, stderr: '' });
});
test('process.exit with handlers, results, chunks and events under way', () =>
  prints(
    `${STARTED} for (let n = 0; n < 200; n += 1) {
       lane.submitAsync('query', n % 2 ? 'endless' : 'slow').catch(() => {});
       const handle = lane.enqueue('prompt', 'endless'); handle.result().catch(() => {});
       handle[Symbol.asyncIterator]().next(); lane.events().next();
     }
     setTimeout(() => process.exit(0), 20);`,
    [],
  ));
test('process.exit at once', () => prints(`${STARTED} lane.submitAsync('query', 'slow'); process.exit(0);`, []));
test('a failure that nobody asks for is nobody\'s', () =>
  prints(
    `process.on('unhandledRejection', (error) => console.log('unhandled', error));
     ${STARTED} const handle = lane.enqueue('query', 'fails'); const [many] = lane.submitMany('query', [{ commandType: 'fails' }]);
     lane.handle('late', async (_, ctx) => { await sleep(50); throw new Error('late'); });
     lane.submitAsync('query', 'late', 1, { timeoutMs: 10 }).catch(({ code }) => console.log(code));
     lane.handle('stopped', (_, ctx) => new Promise((resolve, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason))));
     lane.enqueue('query', 'stopped', 1, { timeoutMs: 10 });
     setTimeout(() => console.log(handle.status, many.status), 100);`,
    ['TIMEOUT', 'failed failed'],
  ));
test('an unhandled rejection of the caller is the caller\'s', async () => {
  const { status, stderr } = await program(`${STARTED} lane.submitAsync('query', 'fails');`);
  assert.equal(status, 1);
  assert.match(stderr, /LaneError: Command execution error: no/);
});

test('worker threads come and go with handlers of their own', () =>
  prints(
    `const { Worker } = require('worker_threads');
     const worker = \`${STARTED}
       const how = require('worker_threads').workerData;
       for (let n = 0; n < 20; n += 1) {
         lane.submitAsync('query', n % 2 ? 'quick' : 'slow', n).catch(() => {});
         lane.submitAsync('prompt', 'endless', n, { timeoutMs: 30 }).catch(() => {});
       }
       lane.events().next();
       if (how === 'exit') setTimeout(() => process.exit(0), 5);
       if (how === 'shutdown') lane.shutdown();
       if (how === 'throw') setTimeout(() => { throw new Error('on purpose'); }, 5);
     \`;
     let left = 20;
     for (let n = 0; n < 20; n += 1) {
       const thread = new Worker(worker, { eval: true, workerData: ['exit', 'shutdown', 'open', 'throw'][n % 4] });
       thread.on('error', ({ message }) => { if (message !== 'on purpose') console.log(message); });
       thread.on('exit', () => { left -= 1; if (left === 0) console.log('all gone'); });
       if (n % 5 === 4) setTimeout(() => thread.terminate(), n);
     }`,
    ['all gone'],
  ));

test('the main thread\'s handlers go on while worker threads end', () =>
  prints(
    `${STARTED} const { Worker } = require('worker_threads');
     const thread = new Worker(\`${STARTED} lane.submitAsync('query', 'endless');\`, { eval: true });
     setTimeout(() => thread.terminate(), 20);
     thread.on('exit', () => lane.submitAsync('query', 'slow', 'on').then(console.log));`,
    ['on'],
  ));

test('lanes with handlers are garbage when nobody holds them', () =>
  prints(
    `const { Lane } = require('@a3s-lab/lane');
     let collected = 0;
     const registry = new FinalizationRegistry(() => (collected += 1));
     async function use(n) {
       const lane = new Lane();
       registry.register(lane, n);
       lane.handle('x', async (value) => value);
       lane.handle('endless', () => new Promise(() => {}));
       if (n % 2) lane.start();
       if (n % 4 === 1) await lane.submitAsync('query', 'x', n);
       if (n % 4 === 3) lane.submitAsync('query', 'endless', n, { timeoutMs: 5 }).catch(() => {});
       if (n % 4 === 0) lane.enqueue('query', 'x', n);
     }
     (async () => {
       for (let n = 0; n < 20; n += 1) await use(n);
       const end = Date.now() + 20000;
       while (collected < 20 && Date.now() < end) { globalThis.gc(); await new Promise((resolve) => setTimeout(resolve, 5)); }
       console.log(collected);
     })();`,
    ['20'],
    { args: ['--expose-gc'] },
  ));

test('iterators that nobody reads are garbage, those that somebody waits for are not', () =>
  prints(
    `${STARTED}
     let collected = 0;
     const registry = new FinalizationRegistry(() => (collected += 1));
     const watch = (n) => registry.register(lane.events(), n);
     for (let n = 0; n < 20; n += 1) watch(n);
     (async () => { for await (const { key } of lane.events({ keys: ['queue.command.completed'] })) console.log(key); })();
     (async () => {
       const end = Date.now() + 20000;
       while (collected < 20 && Date.now() < end) { globalThis.gc(); await sleep(5); }
       console.log(collected);
       await lane.submitAsync('query', 'quick');
       lane.shutdown();
     })();`,
    ['20', 'queue.command.completed'],
    { args: ['--expose-gc'] },
  ));

test('a handle alone keeps what runs its command', () =>
  prints(
    `const { Lane } = require('@a3s-lab/lane');
     function submit() {
       const lane = new Lane();
       lane.start();
       lane.handle('x', async () => { await new Promise((resolve) => setTimeout(resolve, 50)); return 'kept'; });
       return { handle: lane.enqueue('query', 'x', null, { delayMs: 50 }) };
     }
     const { handle } = submit();
     const timer = setInterval(() => globalThis.gc(), 5);
     handle.then((value) => { console.log(value); clearInterval(timer); });`,
    ['kept'],
    { args: ['--expose-gc'] },
  ));

test('memory does not grow from round to round', () =>
  prints(
    `${STARTED} lane.setLane({ laneId: 'query', priority: 2, maxConcurrency: 200 });
     const round = async () => {
       const all = [];
       for (let n = 0; n < 4000; n += 1) {
         const type = ['quick', 'fails', 'endless'][n % 3];
         all.push(lane.submitAsync('query', type, { n }, n % 3 === 2 ? { timeoutMs: 1 } : undefined).catch(() => {}));
         if (n % 2) all.push(lane.enqueue('query', 'quick', n).result());
       }
       await Promise.all(all);
     };
     (async () => {
       for (let n = 0; n < 5; n += 1) await round();
       globalThis.gc();
       await sleep(10); globalThis.gc();
       const before = process.memoryUsage();
       for (let n = 0; n < 10; n += 1) await round();
       globalThis.gc();
       await sleep(10); globalThis.gc();
       const after = process.memoryUsage();
       const grown = { heap: (after.heapUsed - before.heapUsed) / 2 ** 20, rss: (after.rss - before.rss) / 2 ** 20 };
       // The allocator keeps arenas of threads: what is told of the whole process is exact in stress.test.js.
       console.log(grown.heap < 5 && grown.rss < 200 ? 'flat' : JSON.stringify(grown));
     })();`,
    ['flat'],
    { args: ['--expose-gc'] },
  ));
