'use strict';

// L21, continued: a method that does nothing is as bad as an option that is ignored. Each member of what a user holds has the test
// that fails when it does nothing, and each parameter the test that fails when it is ignored. What the objects have when the
// program runs and what is listed here must be the same.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const lanes = require('@a3s-lab/lane');
const testing = require('@a3s-lab/lane/testing');
const { beats, hears, members, ofContext, parameters } = require('./modules/members.js');
const { PATIENCE_MS, eventually } = require('./support.js');

const { Lane, LaneError } = lanes;
const module_ = path.join(__dirname, 'modules', 'members.js');

/** A file, with the names of the tests in it. */
const inFile = (file, names) => Object.fromEntries(Object.entries(names).map(([name, title]) => [name, [file, title]]));

const HANDLE = {
  ...inFile('handles.test.js', {
    id: 'a handle shows itself',
    laneId: 'enqueue does not wait, and the result comes as often as it is asked for',
    status: 'enqueue does not wait, and the result comes as often as it is asked for',
    result: 'enqueue does not wait, and the result comes as often as it is asked for',
    cancel: 'cancel takes a waiting command out, by its handle or by its id',
    explain: 'explain says what a command waits for',
    progress: 'progress skips to the newest value, and ends with the command',
    chunks: 'chunks come from the first one on, however often they are read, and end with the command',
    'nodejs.util.inspect.custom': 'a handle shows itself',
    then: 'a handle can be awaited wherever a promise can',
    'then.fulfilled': 'a handle can be awaited wherever a promise can',
    'then.rejected': 'a handle can be awaited wherever a promise can',
  }),
  accepted: ['storage.test.js', 'an accepted command is in the storage, a refused one is told'],
  'Symbol.asyncIterator': ['handlers.test.js', 'partial results and progress reach the handle'],
};

const LANE = {
  ...inFile('api.test.js', {
    start: 'l37_submit_before_start_is_an_error',
    submit: 'submit returns its payload',
    'submit.payload': 'submit returns its payload',
    stats: 'a lane runs as many commands at once as it may, and stats count them',
    drain: 'a failed drain leaves the work alone, and drainAsync waits for it',
    drainAsync: 'a failed drain leaves the work alone, and drainAsync waits for it',
  }),
  ...inFile('handles.test.js', {
    'submit.options': 'submit takes options too',
    enqueue: 'enqueue does not wait, and the result comes as often as it is asked for',
    'enqueue.payload': 'enqueue does not wait, and the result comes as often as it is asked for',
    'enqueue.options': 'runAt is a time of the calendar',
    submitMany: 'submitMany answers each command by itself',
    cancel: 'cancel takes a waiting command out, by its handle or by its id',
    explain: 'explain says what a command waits for',
  }),
  ...inFile('control.test.js', {
    cancelLane: 'the commands of a lane and of a key are cancelled together',
    cancelKey: 'the commands of a lane and of a key are cancelled together',
    pauseLane: 'a paused lane and a paused key start nothing until they are resumed',
    resumeLane: 'a paused lane and a paused key start nothing until they are resumed',
    pauseKey: 'a paused lane and a paused key start nothing until they are resumed',
    resumeKey: 'a paused lane and a paused key start nothing until they are resumed',
    setLane: 'setLane adds lanes and changes them, and removeLane takes them out',
    removeLane: 'setLane adds lanes and changes them, and removeLane takes them out',
    setMaxConcurrency: 'maxConcurrency is for all lanes together, and can be changed',
    setLimiter: 'limiters are shared by their names, and can be changed',
    snapshot: 'a snapshot is the whole state',
    shutdownWithin: 'shutdownWithin lets nothing more start, from the call on, and says what was left',
  }),
  ...inFile('storage.test.js', {
    startAsync: 'what is stored runs after a restart',
    find: 'what is stored runs after a restart',
    unclaimed: 'unclaimed commands enter when they get what they miss',
    history: 'a history is kept by count and age',
    'history.filter': 'a history is kept by count and age',
  }),
  ...inFile('async.test.js', {
    submitAsync: 'options are heeded: delay, expiry, priority, id',
    'submitAsync.payload': 'a full lane that says wait lets commands wait',
    'submitAsync.options': 'options are heeded: delay, expiry, priority, id',
    events: 'events can be iterated, with the keys that are asked for',
    'events.options': 'events can be iterated, with the keys that are asked for',
    'Symbol.asyncDispose': 'a lane can be disposed of',
  }),
  ...inFile('events.test.js', {
    subscribe: 'a command tells its story in order',
    subscribeFiltered: 'a filtered subscription gets its keys only',
    shutdown: 'shutdown tells its story once',
  }),
  ...inFile('controls.test.js', {
    'shutdownWithin.timeoutMs': 'l21_the_time_of_a_shutdown',
    'drain.timeoutMs': 'l21_the_time_of_a_drain',
    'drainAsync.timeoutMs': 'l21_the_time_of_a_drain',
  }),
  handle: ['handlers.test.js', 'l17_async_functions_are_handlers'],
  removeHandler: ['workers.test.js', 'a module is run in threads, no more than it may have'],
  use: ['middleware.test.js', 'the first middleware is the outermost'],
  deadLetters: ['dead-letters.test.js', 'filters mean some letters (${place})'],
  metrics: ['observing.test.js', 'l27_metrics_count_and_measure_what_happens'],
  close: ['closing.test.js', 'close frees the directory for another process'],
};

const LETTERS = inFile('dead-letters.test.js', {
  list: 'filters mean some letters (${place})',
  'list.filter': 'filters mean some letters (${place})',
  retry: 'letters are retried with the old payload or another one (${place})',
  'retry.options': 'letters are retried with the old payload or another one (${place})',
  retryAll: 'many letters are retried at once (${place})',
  'retryAll.filter': 'many letters are retried at once (${place})',
  discard: 'filters mean some letters (${place})',
  'discard.filter': 'filters mean some letters (${place})',
  export: 'letters are exported and imported (${place})',
  'export.filter': 'letters are exported and imported (${place})',
  import: 'letters are exported and imported (${place})',
});

const CONTEXT = inFile('handlers.test.js', {
  id: 'a handler knows its attempt',
  laneId: 'a handler knows its attempt',
  attempt: 'a failed attempt is tried again, with the same payload',
  metadata: 'a handler knows its attempt',
  deadline: 'a handler knows its attempt',
  timeLeftMs: 'a handler knows its attempt',
  signal: 'a cancel fires the signal',
  stopReason: 'whoever looks late sees that it was asked to stop',
  progress: 'partial results and progress reach the handle',
  emit: 'partial results and progress reach the handle',
  heartbeat: 'a handler without a sign of life is stopped, one that beats goes on',
  settleCost: 'a cost is settled to what it was',
  submitChild: 'l2_a_handler_that_awaits_a_child_in_its_own_lane_goes_on',
  'submitChild.payload': 'l2_a_handler_that_awaits_a_child_in_its_own_lane_goes_on',
  'submitChild.options': 'l2_a_handler_that_awaits_a_child_in_its_own_lane_goes_on',
});

const WORKER_CONTEXT = {
  ...inFile('workers.test.js', {
    id: 'a handler in a thread knows its attempt',
    laneId: 'a handler in a thread knows its attempt',
    attempt: 'a handler in a thread knows its attempt',
    metadata: 'a handler in a thread knows its attempt',
    deadline: 'a handler in a thread knows its attempt',
    timeLeftMs: 'a handler in a thread knows its attempt',
    stopReason: 'a loop in a thread sees that it must stop',
    progress: 'a thread reports as any handler does',
    emit: 'a thread reports as any handler does',
    settleCost: 'a thread reports as any handler does',
  }),
  signal: ['controls.test.js', 'l21_a_thread_hears_its_signal'],
  heartbeat: ['controls.test.js', 'l21_a_thread_gives_a_sign_of_life'],
};

const REPORTS = inFile('handles.test.js', {
  next: 'several calls of next get reports in their order',
  return: 'leaving an iterator ends its waiting calls, and the command goes on',
  'return.value': 'leaving an iterator ends its waiting calls, and the command goes on',
  'Symbol.asyncIterator': 'progress skips to the newest value, and ends with the command',
});

const EVENTS = {
  ...inFile('async.test.js', {
    next: 'events are waited for, and an iteration may be left',
    return: 'events are waited for, and an iteration may be left',
    'Symbol.asyncIterator': 'events can be iterated, with the keys that are asked for',
  }),
  ...inFile('controls.test.js', {
    'return.value': 'l21_an_iteration_of_events_that_is_left_is_over',
    closed: 'l21_an_iteration_of_events_that_is_left_is_over',
  }),
};

const TESTING = {
  ...inFile('testing.test.js', {
    createLane: 'createLane takes what Lane takes',
    'createLane.options': 'createLane takes what Lane takes',
    'createLane.clock': 'a manual clock stands still until it is moved',
    'createLane.inline': 'inline has run what was submitted',
    'createLane.submissionLog': 'a submission log holds what was accepted',
    drainNow: 'drainNow runs everything',
  }),
  ...inFile('handles.test.js', {
    enqueueScripted: 'chunks come from the first one on, however often they are read, and end with the command',
    'enqueueScripted.options': 'metadata goes to the body of the command',
    submitManyScripted: 'submitManyScripted follows its scripts',
  }),
  submitScripted: ['errors.test.js', 'codes are those of the core, with its texts'],
};

/** What a method is about: one that ignored it would do nothing. */
const ABOUT = new Set(
  'laneId commandType id commandId key keys config configs name limiter maxConcurrency callback handler middleware commands lines lane script'
    .split(' ')
    .concat('cost ms chunk directory message depth'.split(' ')),
);

/** The names of members and of their parameters, as they are listed above. Those with an underscore are our own. */
function controls(found) {
  return Object.entries(found)
    .filter(([name]) => name !== 'constructor' && !name.startsWith('_'))
    .flatMap(([name, list]) => {
      const told = name.startsWith('nodejs.') || ['progress', 'emit'].includes(name) ? [] : list;
      return [name, ...told.filter((each) => !ABOUT.has(each)).map((each) => `${name}.${each}`)];
    })
    .sort();
}

const prototype = (object) => members(Object.getPrototypeOf(object));

async function contextOf(handler) {
  const lane = new Lane();
  lane.handle('context', handler);
  lane.start();
  return lane.submitAsync('query', 'context');
}

/** The fields that a setting has, as its refusal tells. */
function fields(take) {
  try {
    take({ colour: 'red' });
  } catch ({ message }) {
    return message.match(/its fields are (.*)$/)[1].split(', ');
  }
  return assert.fail('nothing was refused');
}

/** What a user holds: its members when the program runs, and what is listed here. */
const HELD = {
  lane: [() => prototype(new Lane()), LANE],
  'class of lanes': [
    () => ({ withLanes: parameters(Lane.withLanes) }),
    inFile('api.test.js', {
      withLanes: 'lanes are listed most urgent first, and limits default to 1 and 10',
      'withLanes.options': 'withLanes takes the same options as the constructor',
    }),
  ],
  'class of errors': [
    () => ({ unrecoverable: parameters(LaneError.unrecoverable) }),
    inFile('workers.test.js', {
      unrecoverable: 'the errors of a thread arrive',
      'unrecoverable.options': 'the errors of a thread arrive',
    }),
  ],
  handle: [() => prototype(new Lane().enqueue('query', 'x')), HANDLE],
  reports: [() => prototype(new Lane().enqueue('query', 'x').chunks()), REPORTS],
  progress: [() => prototype(new Lane().enqueue('query', 'x').progress()), REPORTS],
  'dead letters': [() => prototype(new Lane().deadLetters), LETTERS],
  events: [() => prototype(new Lane().events()), EVENTS],
  subscription: [
    () => prototype(new Lane().subscribe(() => {})),
    inFile('events.test.js', {
      close: 'close stops the calls at once, also from inside the callback',
      closed: 'close stops the calls at once, also from inside the callback',
    }),
  ],
  context: [() => contextOf(ofContext), CONTEXT],
  'context in a thread': [() => contextOf({ module: module_, export: 'ofContext', threads: 1 }), WORKER_CONTEXT],
  clock: [
    () => prototype(new testing.ManualClock()),
    inFile('testing.test.js', {
      advance: 'a manual clock stands still until it is moved',
      elapsedMs: 'a manual clock stands still until it is moved',
    }),
  ],
  log: [
    () => prototype(new testing.SubmissionLog()),
    inFile('testing.test.js', {
      submitted: 'a submission log holds what was accepted',
      assertSubmitted: 'a submission log says what is different',
      assertNotSubmitted: 'a submission log says what is different',
    }),
  ],
  functions: [
    () => functionsOf(lanes),
    { inspect: ['closing.test.js', 'inspect says what a directory holds'] },
  ],
  'functions of testing': [
    () => {
      const shared = fields((change) => new Lane(change));
      const own = fields(testing.createLane).filter((name) => !shared.includes(name));
      const found = functionsOf(testing);
      return { ...found, createLane: [...found.createLane, ...own] };
    },
    TESTING,
  ],
};

/** Those that are no classes. */
function functionsOf(exported) {
  const found = Object.entries(exported).filter(([, value]) => !String(value).startsWith('class'));
  return Object.fromEntries(found.map(([name, value]) => [name, parameters(value)]));
}

for (const [kind, [found, listed]] of Object.entries(HELD)) {
  test(`l21_every_control_of_${kind.replace(/ /g, '_')}_has_a_test`, async () => {
    const names = new Set(Object.keys(listed));
    // Older versions of Node.js do not have it.
    if (Symbol.asyncDispose === undefined) names.delete('Symbol.asyncDispose');
    assert.deepEqual(controls(await found()), [...names].sort());
    for (const [file, title] of Object.values(listed)) {
      const text = fs.readFileSync(path.join(__dirname, file), 'utf8');
      assert.ok(text.includes(`test('${title}'`) || text.includes(`test(\`${title}\``), `${file} has no test '${title}'`);
    }
  });
}

test('l21_every_class_is_held', () => {
  const classes = Object.values({ ...lanes, ...testing }).filter((value) => String(value).startsWith('class'));
  assert.deepEqual(classes.map(({ name }) => name).sort(), ['Lane', 'LaneError', 'ManualClock', 'SubmissionLog']);
});

test('l21_the_time_of_a_drain', async () => {
  for (const drain of [async (lane, ms) => lane.drain(ms), (lane, ms) => lane.drainAsync(ms)]) {
    const lane = new Lane();
    const handle = testing.enqueueScripted(lane, 'query', 'x', [[{ sleep_ms: 50 }]]);
    await assert.rejects(drain(lane, 1), { code: 'TIMEOUT' });
    lane.start();
    await drain(lane, PATIENCE_MS);
    assert.equal(handle.status, 'completed');
  }
});

test('l21_the_time_of_a_shutdown', async () => {
  for (const [timeoutMs, sleepMs, isClean] of [[0, 2 * PATIENCE_MS, false], [PATIENCE_MS, 50, true]]) {
    const lane = new Lane();
    const handle = testing.enqueueScripted(lane, 'query', 'x', [[{ sleep_ms: sleepMs }]]);
    lane.start();
    await eventually(() => handle.status !== 'pending');
    assert.equal((await lane.shutdownWithin(timeoutMs)).isClean, isClean);
    assert.equal(handle.status, isClean ? 'completed' : 'failed');
  }
});

test('l21_a_thread_hears_its_signal', async () => {
  const lane = Lane.withLanes([{ laneId: 'work', priority: 1, graceMs: 60_000 }]);
  lane.handle('hears', { module: module_, export: hears.name, threads: 1, graceMs: 60_000 });
  lane.start();
  const handle = lane.enqueue('work', 'hears');
  await eventually(() => handle.status === 'running');
  handle.cancel();
  assert.equal(await handle, 'CANCELLED', 'it completes within the grace of its lane');
});

test('l21_a_thread_gives_a_sign_of_life', async () => {
  const clock = new testing.ManualClock();
  const lane = testing.createLane({ clock, configs: [{ laneId: 'work', priority: 1, progressTimeoutMs: 10_000 }] });
  lane.handle('beats', { module: module_, export: beats.name, threads: 1 });
  lane.start();
  const turns = new Int32Array(new SharedArrayBuffer(8));
  const go = (turn) => {
    Atomics.store(turns, 1, turn);
    Atomics.notify(turns, 1);
  };
  const handle = lane.enqueue('work', 'beats', turns);
  await eventually(() => Atomics.load(turns, 0) === 1);
  clock.advance(9_000);
  go(1);
  await eventually(() => Atomics.load(turns, 0) === 2);
  // What the thread has told is here in another turn.
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
  clock.advance(9_000);
  go(2);
  assert.equal(await handle, 'alive');
});

test('l21_an_iteration_of_events_that_is_left_is_over', async () => {
  const events = new Lane().events();
  assert.equal(events.closed, false);
  assert.deepEqual(await events.return('value'), { value: 'value', done: true });
  assert.equal(events.closed, true);
});
