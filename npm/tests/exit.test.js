'use strict';

// How a process ends: each program must exit by itself, with nothing on stderr.

const assert = require('node:assert/strict');
const test = require('node:test');

const { program } = require('./support.js');

const LANE = `
  const { Lane } = require('@a3s-lab/lane');
  const { enqueueScripted, submitScripted } = require('@a3s-lab/lane/testing');
  const lane = new Lane();
  lane.start();
  const log = (error, event) => console.log(event.key);`;

async function prints(code, expected, options, arrange = (lines) => lines) {
  const { status, signal, stdout, stderr } = await program(code, options);
  assert.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: '' });
  assert.deepEqual(arrange(stdout.split('\n').slice(0, -1)), expected);
}

const STORY = ['queue.command.submitted', 'queue.command.started', 'queue.command.completed'];
const END = ['queue.shutdown.started', 'queue.shutdown.complete'];

test('a shut down lane with a live subscription', () =>
  prints(`${LANE} lane.subscribe(log); lane.submit('query', 'echo', '1'); lane.shutdown();`, [...STORY, ...END]));

test('a shut down lane with running work: its end is awaited and told', async () => {
  const { status, stdout, stderr } = await program(
    `${LANE} lane.subscribe(log);
     submitScripted(lane, 'query', 'slow', [[{ sleep_ms: 100 }]]).catch(console.log);
     lane.shutdown();`,
  );
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  const keys = stdout.trim().split('\n');
  assert.deepEqual(keys.slice(-2), ['queue.command.completed', 'queue.shutdown.complete']);
  // The attempt starts on another thread, before or after the shutdown.
  assert.deepEqual(keys.slice().sort(), [...STORY, ...END].sort());
});

test('an open lane with a live subscription: what happened is told', () =>
  prints(`${LANE} lane.subscribe(log); lane.submit('query', 'echo', '1');`, STORY));

test('an open lane with more events than one batch', () =>
  prints(
    `${LANE} let count = 0; lane.subscribe(() => (count += 1));
     for (let n = 0; n < 1000; n += 1) lane.submit('query', 'echo', '1');
     process.on('exit', () => console.log(count));`,
    ['3000'],
  ));

test('work that a callback starts when the loop is empty', () =>
  prints(
    `${LANE} let first = true;
     lane.subscribe((error, event) => {
       log(error, event);
       if (first) lane.submit('query', 'echo', '1');
       first = false;
     });
     lane.submit('query', 'echo', '1');`,
    [...STORY, ...STORY],
  ));

test('an open lane that did nothing', () => prints(LANE, []));
test('a lane that was never started, with a subscription', () =>
  prints(`const { Lane } = require('@a3s-lab/lane'); new Lane().subscribe(() => {});`, []));
test('a lane that was shut down but never started', () =>
  prints(
    `const { Lane } = require('@a3s-lab/lane'); const lane = new Lane();
     lane.subscribe((error, event) => console.log(event.key)); lane.shutdown(); lane.drain(10000);`,
    END,
  ));
test('a closed subscription does not wait for the end', () =>
  prints(
    `${LANE} const subscription = lane.subscribe(log);
     submitScripted(lane, 'query', 'slow', [[{ sleep_ms: 100 }]]).catch(console.log);
     lane.shutdown(); subscription.close();`,
    [],
  ));
test('two lanes, two subscriptions, one of them open', () =>
  prints(
    `${LANE} const other = new Lane(); other.start(); other.subscribe(log); lane.subscribe(() => {});
     other.submit('query', 'echo', '1'); lane.shutdown();`,
    STORY,
  ));

test('pending promises keep the process alive', async () => {
  const { status, stdout, stderr } = await program(
    `${LANE} submitScripted(lane, 'query', 'slow', [[{ sleep_ms: 100 }, { return: 'result' }]]).then(console.log);
     lane.drainAsync(30000).then(() => console.log('drained'));`,
  );
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  assert.deepEqual(stdout.trim().split('\n').sort(), ['drained', 'result']);
});

const ENDLESS = '[[{ sleep_ms: 600000 }]]';

test('a command alone does not keep the process alive', () =>
  prints(
    `${LANE} const handle = enqueueScripted(lane, 'query', 'x', ${ENDLESS});
     handle.chunks(); handle.progress(); console.log(handle.laneId);`,
    ['query'],
  ));
test('a result that is awaited keeps the process alive', () =>
  prints(`${LANE} enqueueScripted(lane, 'query', 'x', [[{ sleep_ms: 100 }, { return: 1 }]]).then(console.log);`, ['1']));
test('a failure that nobody asks for is nobody\'s', () =>
  prints(`${LANE} const handle = enqueueScripted(lane, 'query', 'x', [[{ fail: 'boom' }]]); lane.drain(30000);
    console.log(handle.status);`, ['failed']));
test('reports that are awaited keep the process alive until the command has settled', () =>
  prints(
    `${LANE} const handle = enqueueScripted(lane, 'query', 'x', [[{ sleep_ms: 100 }, { emit: 1 }, { progress: 2 }]]);
     (async () => {
       for await (const { value } of handle.chunks()) console.log(value);
       for await (const value of handle.progress()) console.log(value);
       console.log('end');
     })();`,
    ['1', '2', 'end'],
  ));
test('an iterator that was left keeps nothing alive', () =>
  prints(
    `${LANE} const chunks = enqueueScripted(lane, 'query', 'x', ${ENDLESS}).chunks();
     chunks.next().then(({ done }) => console.log(done)); setTimeout(() => chunks.return(), 20);`,
    ['true'],
  ));
test('the end of a queue ends what is awaited', () =>
  prints(
    `const { Lane } = require('@a3s-lab/lane'); const lane = new Lane();
     const handle = lane.enqueue('query', 'x');
     lane.setLane({ laneId: 'query', priority: 0, maxPending: 1, overflow: 'wait' });
     const outside = lane.enqueue('query', 'y');
     for (const { result, chunks } of [handle, outside].map((it) => ({ result: it.result(), chunks: it.chunks() }))) {
       chunks.next().then(({ done }) => console.log(done));
       result.catch(({ code }) => console.log(code));
     }
     lane.shutdownWithin(0).then(({ pending }) => setTimeout(() => console.log(pending.length), 100));`,
    ['QUEUE_ERROR', 'SHUTDOWN_IN_PROGRESS', 'true', 'true', '1'],
    undefined,
    (lines) => [...lines.slice(0, 4).sort(), ...lines.slice(4)],
  ));
test('process.exit with reports and results under way', () =>
  prints(
    `${LANE} for (let n = 0; n < 100; n += 1) {
       const handle = enqueueScripted(lane, 'query', 'x', [[{ emit: 1 }, { progress: 1 }, { sleep_ms: 600000 }]]);
       handle.result().catch(() => {}); handle.chunks().next(); handle.progress().next();
     }
     setTimeout(() => process.exit(0), 50);`,
    [],
  ));

test('process.exit with work running and events under way', () =>
  prints(
    `${LANE} lane.subscribe(() => {}); for (let n = 0; n < 500; n += 1) lane.submit('query', 'echo', '1');
     submitScripted(lane, 'query', 'endless', [[{ sleep_ms: 600000 }]]).catch(() => {});
     setImmediate(() => process.exit(0));`,
    [],
  ));

test('process.exit from inside a callback', () =>
  prints(`${LANE} lane.subscribe(() => process.exit(0)); lane.submit('query', 'echo', '1');`, []));

test('an exception in a callback ends the process with status 1', async () => {
  const code = `${LANE} lane.subscribe(() => { throw new Error('mine'); }); lane.submit('query', 'echo', '1');`;
  for (const end of ['', 'lane.shutdown();', 'setInterval(() => {}, 1000);']) {
    const { status, signal, stderr } = await program(code + end);
    assert.deepEqual({ status, signal }, { status: 1, signal: null });
    assert.match(stderr, /Error: mine/);
  }
});

test('worker threads come and go with lanes of their own', () =>
  prints(
    `const { Worker, isMainThread } = require('worker_threads');
     const worker = \`${LANE}
       lane.subscribe(() => {});
       lane.submit('query', 'echo', '1');
       submitScripted(lane, 'query', 'slow', [[{ sleep_ms: 20 }]]).catch(() => {});
       enqueueScripted(lane, 'query', 'slow', [[{ sleep_ms: 20 }, { emit: 1 }]]).chunks().next();
       if (require('worker_threads').workerData === 'exit') process.exit(0);
       if (require('worker_threads').workerData === 'shutdown') lane.shutdown();
     \`;
     let left = 30;
     for (let n = 0; n < 30; n += 1) {
       const thread = new Worker(worker, { eval: true, workerData: ['exit', 'shutdown', 'open'][n % 3] });
       thread.on('error', (error) => console.log(error));
       thread.on('exit', () => { left -= 1; if (left === 0) console.log('all gone'); });
       if (n % 5 === 4) setTimeout(() => thread.terminate(), n);
     }`,
    ['all gone'],
  ));

test('lanes in the main thread go on while worker threads end', () =>
  prints(
    `${LANE}
     const { Worker } = require('worker_threads');
     const thread = new Worker("const { Lane } = require('@a3s-lab/lane'); new Lane().start();", { eval: true });
     thread.on('exit', () => {
       console.log(lane.submit('query', 'echo', '1'));
       submitScripted(lane, 'query', 'c', [[{ sleep_ms: 10 }, { return: 2 }]]).then(console.log);
     });`,
    ['1', '2'],
  ));
