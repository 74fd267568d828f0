'use strict';

// Each option is in a scenario that fails when it is ignored: what the settings know and what scenarios use must be the same.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { Lane } = require('@a3s-lab/lane');
const { configOf, limiterOf, optionsOf } = require('./scenario-settings.js');
const { eventually, root } = require('./support.js');

const folder = path.join(root, 'tests', 'scenarios');
const scenarios = fs
  .readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .flatMap((name) => JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')));
const steps = scenarios.flatMap((scenario) => scenario.steps);

function given(tables) {
  return tables.filter((table) => table !== undefined && table !== null);
}

/** All that scenarios set, in the words of this package. */
const used = {
  lane: [...scenarios.flatMap(({ lanes = [] }) => lanes), ...given(steps.map((step) => step.set_lane))].map(
    ({ error, ...lane }) => configOf(lane),
  ),
  limiter: [
    ...scenarios.flatMap(({ limiters = {} }) => Object.values(limiters)),
    ...given(steps.map((step) => step.set_limiter)),
  ].map(({ name, error, ...limiter }) => limiterOf(limiter)),
  options: given(
    steps.flatMap(({ submit, submit_many: many }) => [submit, ...(many ? many.commands : [])]).map(
      (command) => command && command.options,
    ),
  ).map(optionsOf),
};
Object.assign(used, {
  retryPolicy: given([...used.lane, ...used.options].map(({ retryPolicy }) => retryPolicy)),
  rateLimit: given(used.lane.map(({ rateLimit }) => rateLimit)),
  priorityBoost: given(used.lane.map(({ priorityBoost }) => priorityBoost)),
  unique: given(used.options.map(({ unique }) => unique)),
  lanes: scenarios.map(({ dlq_size: dlqSize, max_concurrency: maxConcurrency, limiters }) => ({
    ...{ dlqSize, maxConcurrency, limiters },
  })),
});

/** Options of this package alone, each with the file and the name of the test that fails when it is ignored. */
const OF_NODE = {
  metrics: ['observing.test.js', 'l27_metrics_count_and_measure_what_happens'],
  storage: ['storage.test.js', 'what is stored runs after a restart'],
  durability: ['faults.test.js', 'durability says whether a submission waits for the disk'],
  maxCrashes: ['killed.test.js', 'maxCrashes is how often the process may end while a command runs'],
  results: ['storage.test.js', 'results are kept by count and age'],
  history: ['storage.test.js', 'a history is kept by count and age'],
  maxDeadLetters: ['storage.test.js', 'maxDeadLetters bounds the dead letters'],
  alerts: ['observing.test.js', 'l27_a_depth_that_rises_to_a_threshold_raises_an_alert'],
};

function haveTests(listed) {
  for (const [file, title] of Object.values(listed)) {
    const text = fs.readFileSync(path.join(__dirname, file), 'utf8');
    assert.ok(text.includes(`test('${title}'`) || text.includes(`test(\`${title}\``), `${file} has no test '${title}'`);
  }
}

test('options of this package alone have their tests', () => haveTests(OF_NODE));

/** The message of the error that `work` throws. */
function refusal(work) {
  try {
    work();
  } catch (error) {
    return error.message;
  }
  return assert.fail('nothing was refused');
}

const enqueue = (options) => new Lane().enqueue('query', 't', null, options);
const lane = (change) => Lane.withLanes([{ laneId: 'a', priority: 0, ...change }]);
const limiter = (change) => new Lane({ limiters: { a: { maxCommands: 1, windowMs: 1, ...change } } });

/** What takes settings: with one that it does not know it tells those that it knows. */
const takers = {
  lanes: (change) => new Lane(change),
  lane,
  limiter,
  options: enqueue,
  retryPolicy: (change) => lane({ retryPolicy: { maxRetries: 1, ...change } }),
  rateLimit: (change) => lane({ rateLimit: { maxCommands: 1, windowMs: 1, ...change } }),
  priorityBoost: (change) => lane({ priorityBoost: { deadlineMs: 1, ...change } }),
  unique: (change) => enqueue({ unique: { key: 'u', ...change } }),
};

for (const [kind, take] of Object.entries(takers)) {
  test(`l21_every_field_of_${kind}_is_in_a_scenario`, () => {
    const [, known] = refusal(() => take({ colour: 'red' })).match(/its fields are (.*)$/);
    const fields = known.split(', ');
    assert.ok(fields.length > 1, known);
    const shared = fields.filter((field) => !(kind === 'lanes' && field in OF_NODE));
    const missing = shared.filter((field) => !used[kind].some((table) => table[field] !== undefined));
    assert.deepEqual(missing, []);
  });
}

for (const [kind, field, standard] of [
  ['options', 'jitter'],
  ['lane', 'retryJitter', 'none'],
  ['lane', 'overflow', 'reject'],
  ['limiter', 'algorithm', 'token_bucket'],
  ['unique', 'onConflict', 'reject'],
]) {
  test(`l21_every_${field}_is_in_a_scenario`, () => {
    const words = [...refusal(() => takers[kind]({ [field]: '?' })).matchAll(/'(\w+)'/g)].map(([, word]) => word);
    const choices = words.filter((word) => word !== standard && word !== 'a');
    assert.ok(choices.length > 0);
    const missing = choices.filter((choice) => !used[kind].some((table) => table[field] === choice));
    assert.deepEqual(missing, []);
  });
}

/** A file, with the names of the tests in it. */
const inFile = (file, names) => Object.fromEntries(Object.entries(names).map(([name, title]) => [name, [file, title]]));

const all = (names, title) => Object.fromEntries(names.split(' ').map((name) => [name, title]));

const MODULE = path.join(__dirname, 'modules', 'work.js');
const callback = () => {};
const kept = 'results are kept by count and age';
const told = 'a history is kept by count and age';
const raised = 'l27_a_depth_that_rises_to_a_threshold_raises_an_alert';
const slow = 'l27_a_command_that_is_too_slow_raises_an_alert';

/**
 * Settings that no scenario has: the interface that documents them, what takes them, and for each field the file and the name of
 * the test that fails when it is ignored.
 */
const WITHOUT_SCENARIO = {
  alerts: [
    'Alerts',
    (change) => new Lane({ alerts: { callback, ...change } }),
    inFile('observing.test.js', { callback: raised, queueDepth: raised, latency: slow }),
  ],
  'alerts.queueDepth': [
    'QueueDepthThresholds',
    (queueDepth) => new Lane({ alerts: { callback, queueDepth } }),
    inFile('observing.test.js', { warningThreshold: raised, criticalThreshold: raised }),
  ],
  'alerts.latency': [
    'LatencyThresholds',
    (latency) => new Lane({ alerts: { callback, latency } }),
    inFile('observing.test.js', { warningThresholdMs: slow, criticalThresholdMs: slow }),
  ],
  results: ['Retention', (results) => new Lane({ results }), inFile('storage.test.js', { maxAgeMs: kept, maxCount: kept })],
  history: ['Retention', (history) => new Lane({ history }), inFile('storage.test.js', { maxAgeMs: told, maxCount: told })],
  'filter of the history': [
    'HistoryFilter',
    (filter) => new Lane().history(filter),
    inFile('storage.test.js', all('commandId laneId since after limit', told)),
  ],
  'filter of dead letters': [
    'DeadLetterFilter',
    (filter) => new Lane({ dlqSize: 1 }).deadLetters.list(filter),
    inFile('dead-letters.test.js', all('ids laneId commandType code since until limit', 'filters mean some letters (${place})')),
  ],
  'handler in threads': [
    'ThreadedHandler',
    (change) => new Lane().handle('x', { module: MODULE, ...change }),
    {
      ...inFile('workers.test.js', {
        module: 'a module may be an ES module, a path or a URL, with a default export',
        export: 'a handler in a thread knows its attempt',
      }),
      ...inFile('options.test.js', { threads: 'l21_the_threads_of_a_handler', graceMs: 'l21_the_grace_of_a_thread' }),
    },
  ],
  'command of many': [
    'BatchCommand',
    (change) => new Lane().submitMany('query', [{ commandType: 'x', ...change }]),
    inFile('handles.test.js', all('commandType payload options', 'submitMany answers each command by itself')),
  ],
};

/** The fields that an interface of the package documents. */
function documented(name) {
  const folder = path.join(root, 'npm');
  const files = fs.readdirSync(folder).filter((file) => file.endsWith('.d.ts'));
  const text = files.map((file) => fs.readFileSync(path.join(folder, file), 'utf8')).join('\n');
  const [, body] = text.match(new RegExp(`export interface ${name}(?:<.*>)? \\{\\n([^]*?)\\n\\}`));
  return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, field]) => field);
}

for (const [kind, [name, take, listed]] of Object.entries(WITHOUT_SCENARIO)) {
  test(`l21_every_field_of_${kind.replace(/[ .]/g, '_')}_has_a_test`, async () => {
    const refused = async () => take({ colour: 'red' });
    const { message } = await refused().then(() => assert.fail('nothing was refused'), (error) => error);
    const [, known] = message.match(/its fields are (.*)$/);
    assert.deepEqual(known.split(', ').sort(), Object.keys(listed).sort());
    assert.deepEqual(documented(name).sort(), Object.keys(listed).sort());
    haveTests(listed);
  });
}

/** A lane that lets what was cancelled end by itself, with a function of the module that runs in threads. */
function threaded(name, settings) {
  const own = Lane.withLanes([{ laneId: 'work', priority: 1, maxConcurrency: 100, graceMs: 60_000 }]);
  own.handle(name, { module: MODULE, export: name, ...settings });
  own.start();
  return own;
}

test('l21_the_threads_of_a_handler', async () => {
  // The default is the number of cores, which is not both.
  for (const threads of [2, 3]) {
    const own = threaded('where', { threads });
    const ids = await Promise.all(Array.from({ length: 3 * threads }, () => own.submitAsync('work', 'where')));
    assert.equal(new Set(ids).size, threads);
  }
});

test('l21_the_grace_of_a_thread', async () => {
  const own = threaded('spins', { threads: 1, graceMs: 60_000 });
  // Longer than the grace that is the default.
  const handle = own.enqueue('work', 'spins', 1.5);
  await eventually(() => handle.status === 'running');
  handle.cancel();
  assert.equal(await handle, undefined);
});
