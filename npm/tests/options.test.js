'use strict';

// Each option is in a scenario that fails when it is ignored: what the settings know and what scenarios use must be the same.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { Lane } = require('@a3s-lab/lane');
const { configOf, limiterOf, optionsOf } = require('./scenario-settings.js');
const { root } = require('./support.js');

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

test('options of this package alone have their tests', () => {
  for (const [file, name] of Object.values(OF_NODE)) {
    assert.ok(fs.readFileSync(path.join(__dirname, file), 'utf8').includes(`test('${name}'`), name);
  }
});

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
