'use strict';

// What a program may do that nobody has in mind: things that cannot be looked at, ends in the wrong order, bursts. Nothing may be
// lost, left or kept by it.

const assert = require('node:assert/strict');
const path = require('path');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { eventually, program } = require('./support.js');

const WORK = path.join(__dirname, 'modules', 'work.js');

function started(config) {
  const lane = Lane.withLanes([{ laneId: 'one', priority: 0, ...config }]);
  lane.start();
  return lane;
}

const errorOf = (promise) => promise.then(() => undefined, (error) => error);

function revoked() {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

class Unreadable extends LaneError {
  get code() {
    throw new Error('not even this');
  }
  set code(_) {}
}

test('what is thrown and cannot be looked at fails the attempt as anything else does', async () => {
  const lane = started();
  const unhandled = [];
  const note = (error) => unhandled.push(error);
  process.on('unhandledRejection', note);
  const strange = { revoked, unreadable: () => new Unreadable('x'), codes: () => new LaneError('x', { toString: null }) };
  for (const [name, make] of Object.entries(strange)) {
    lane.handle(`${name} at once`, () => {
      throw make();
    });
    lane.handle(`${name} later`, async () => {
      await null;
      throw make();
    });
    for (const how of ['at once', 'later']) {
      const error = await errorOf(lane.submitAsync('one', `${name} ${how}`));
      assert.equal(error instanceof Error, true, `${name} ${how}`);
    }
    const handle = lane.enqueue('one', `${name} later`);
    await errorOf(handle.result());
    assert.equal(handle.status, 'failed');
  }
  await new Promise(setImmediate);
  process.removeListener('unhandledRejection', note);
  assert.deepEqual(unhandled, []);
});

test('a promise that cannot be looked at fails the attempt too', async () => {
  const lane = started();
  lane.handle('constructor', () => {
    const promise = Promise.resolve(1);
    Object.defineProperty(promise, 'constructor', { get: () => { throw new Error('no constructor'); } });
    return promise;
  });
  lane.handle('then', () => ({ get then() { throw new Error('no then'); } }));
  lane.handle('revoked', () => revoked());
  for (const type of ['constructor', 'then', 'revoked']) {
    const error = await errorOf(lane.submitAsync('one', type));
    assert.equal(error && error.code, 'COMMAND_ERROR', type);
  }
});

test('a promise that settles twice and a then that throws late end the attempt once', async () => {
  const lane = started({ maxConcurrency: 1 });
  lane.handle('twice', () => ({
    then(resolve, reject) {
      resolve(1);
      reject(new Error('late'));
      throw new Error('later');
    },
  }));
  lane.handle('plain', (payload) => payload);
  const first = lane.submitAsync('one', 'twice');
  const second = lane.submitAsync('one', 'plain', 2);
  assert.deepEqual(await Promise.all([first, second]), [1, 2]);
});

test('the fields of a function that is a handler are its owner\'s', () => {
  const lane = new Lane();
  const handler = Object.assign(() => {}, { close: () => assert.fail('nobody asked for that') });
  lane.handle('x', handler);
  lane.handle('x', handler);
  assert.equal(lane.removeHandler('x'), true);
});

test('a call that was asked to stop before it got to a thread does not run there', async () => {
  const lane = started({ graceMs: 60_000 });
  lane.handle('where', { module: WORK, export: 'where', threads: 1 });
  let go;
  lane.use(async (payload, ctx, next) => {
    if (payload === 'waits') await new Promise((resolve) => (go = resolve));
    return next();
  });
  const handle = lane.enqueue('one', 'where', 'waits');
  await eventually(() => go !== undefined);
  assert.equal(handle.cancel(), true);
  go();
  const error = await errorOf(handle.result());
  assert.equal(error && error.code, 'CANCELLED');
  lane.removeHandler('where');
});

test('a burst of commands is forgotten when it is over', async () => {
  const { status, stdout, stderr } = await program(
    `
    const { Lane } = require('@a3s-lab/lane');
    const lane = new Lane();
    lane.handle('x', async (n) => n);
    lane.start();
    const round = async (count) => {
      lane.pauseLane('query');
      const all = Array.from({ length: count }, (_, n) => lane.submitAsync('query', 'x', n));
      for (const handle of lane.submitMany('query', [{ commandType: 'x' }, { commandType: 'x' }])) all.push(handle.result());
      lane.resumeLane('query');
      await Promise.all(all);
    };
    const held = async () => {
      for (let n = 0; n < 3; n += 1) { globalThis.gc(); await new Promise((resolve) => setTimeout(resolve, 10)); }
      return process.memoryUsage().heapUsed;
    };
    (async () => {
      await round(1000);
      const before = await held();
      await round(300000);
      const after = await held();
      // Two lists of as many entries would be nearly 5 MB.
      console.log(after - before < 1_500_000 ? 'forgotten' : after - before);
    })();`,
    { args: ['--expose-gc'] },
  );
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'forgotten\n', stderr: '' });
});

test('lanes with a storage that come and go leave one listener of the end', async () => {
  const { status, stdout, stderr } = await program(
    `
    const fs = require('fs'), os = require('os'), path = require('path');
    const { Lane } = require('@a3s-lab/lane');
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lane-exit-'));
    const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
    let collected = 0;
    const registry = new FinalizationRegistry(() => (collected += 1));
    async function use(n) {
      const lane = new Lane({ storage: path.join(folder, String(n)) });
      lane.handle('x', async (value) => value);
      await lane.startAsync();
      await lane.submitAsync('query', 'x', n);
      lane.shutdown();
      await lane.drainAsync(10000);
      registry.register(lane, n);
    }
    (async () => {
      for (let n = 0; n < 4; n += 1) {
        await use(n);
        const end = Date.now() + 20000;
        while (collected <= n && Date.now() < end) { globalThis.gc(); await turn(); }
        for (let n = 0; n < 5; n += 1) { globalThis.gc(); await turn(); }
      }
      console.log(collected, process.listenerCount('exit'));
      fs.rmSync(folder, { recursive: true });
    })();`,
    { args: ['--expose-gc'] },
  );
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '4 1\n', stderr: '' });
});

const UNSTARTED = `
  const { Lane } = require('@a3s-lab/lane');
  const lane = new Lane();
  lane.handle('x', async (n) => n);
`;
for (const [what, code] of Object.entries({
  'a result': `lane.submitAsync('query', 'x').then(console.log, console.log);`,
  'a handle': `lane.enqueue('query', 'x').then(console.log, console.log);`,
  'partial results': `lane.enqueue('query', 'x').chunks().next().then(console.log);`,
  'progress of one of many': `lane.submitMany('query', [{ commandType: 'x' }])[0].progress().next().then(console.log);`,
  events: `lane.enqueue('query', 'x'); lane.events({ keys: ['queue.command.completed'] }).next().then(console.log);`,
  subscription: `lane.enqueue('query', 'x'); lane.subscribeFiltered(['queue.command.completed'], console.log);`,
})) {
  for (const shuts of [false, true]) {
    test(`${what} of a lane that nobody starts, ${shuts ? 'shut down' : 'open'}, do not keep the process`, async () => {
      const { status, stdout, stderr } = await program(`${UNSTARTED} ${code} ${shuts ? 'lane.shutdown();' : ''}`);
      assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
    });
  }
}

test('what is cancelled in a lane that nobody has started is told before the process ends', async () => {
  const { status, stdout, stderr } = await program(
    `${UNSTARTED}
    const handles = [1, 2].map((n) => lane.enqueue('query', 'x', n));
    const many = lane.submitMany('query', [{ commandType: 'x' }]);
    lane.submitAsync('prompt', 'x').catch(({ code }) => console.log('lane', code));
    for (const handle of [...handles, ...many]) handle.result().catch(({ code }) => console.log('handle', code));
    setTimeout(() => {
      handles[0].cancel();
      setTimeout(() => lane.cancel(handles[1].id), 5);
      setTimeout(() => many[0].cancel(), 10);
      setTimeout(() => lane.cancelLane('prompt'), 15);
    }, 5);`,
  );
  const told = ['handle CANCELLED', 'handle CANCELLED', 'handle CANCELLED', 'lane CANCELLED'];
  assert.deepEqual({ status, stderr, told: stdout.trim().split('\n') }, { status: 0, stderr: '', told });
});
