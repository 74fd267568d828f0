'use strict';

// Plays one scenario of tests/scenarios against this package. The tables are shared with the other languages; what this
// player does not know is an error, so that no step or expectation is skipped silently.

const assert = require('node:assert/strict');

const { LaneError } = require('@a3s-lab/lane');
const testing = require('@a3s-lab/lane/testing');
const { scripted } = require('./scenario-bodies.js');
const { checkEvents } = require('./scenario-events.js');
const { configOf, given, limiterOf, limitersOf, only, optionsOf } = require('./scenario-settings.js');
const { eventually, record } = require('./support.js');

const STATS = { total_pending: 'totalPending', total_active: 'totalActive', dead_letter_count: 'deadLetterCount' };
const STATUS = { pending: 'pending', active: 'active', min: 'minConcurrency', max: 'maxConcurrency' };

/** Whether `stats` has all that `expected` names. */
function holds(stats, { lanes = {}, ...totals }) {
  only('stats', totals, ...Object.keys(STATS));
  return (
    Object.entries(totals).every(([name, value]) => stats[STATS[name]] === value) &&
    Object.entries(lanes).every(([id, status]) => {
      const found = stats.lanes.find((lane) => lane.laneId === id);
      only(`stats of ${id}`, status, ...Object.keys(STATUS));
      return found && Object.entries(status).every(([name, value]) => found[STATUS[name]] === value);
    })
  );
}

/** A structure of the tables in the words of this package. */
function renamed(value) {
  if (Array.isArray(value)) return value.map(renamed);
  if (typeof value !== 'object' || value === null) return value;
  const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [camel(name), renamed(each)]));
}

/** `got` must have everything that is expected: all fields of an object, and as many items of a list. */
function contains(got, expected) {
  if (typeof expected !== 'object' || expected === null) {
    assert.equal(got, expected);
    return;
  }
  assert.equal(Array.isArray(got), Array.isArray(expected));
  if (Array.isArray(expected)) assert.equal(got.length, expected.length);
  for (const [name, value] of Object.entries(expected)) {
    assert.ok(name in got, `there is no ${name}`);
    contains(got[name], value);
  }
}

/** Looks until `check` throws nothing; its last error is the test's. */
async function soon({ patienceMs }, check) {
  let last;
  const look = async () => {
    try {
      await check();
      return true;
    } catch (error) {
      last = error;
      return false;
    }
  };
  await eventually(look, look, patienceMs).catch(() => assert.fail(last));
}

/** Does `work`, which must fail with `error` if there is one. */
async function done(work, error) {
  const doing = async () => work();
  if (error === undefined) await doing();
  else await assert.rejects(doing, { name: 'LaneError', code: error });
}

/** Keeps a command that was accepted under its name. */
function keep({ submitted, ids, bodies }, { as, options, joins }, handle) {
  assert.ok(!submitted.has(as), `two commands are called ${as}`);
  const owner = ids.get(handle.id);
  assert.equal(owner, joins, 'whose handle it is');
  if (owner === undefined && typeof options.id === 'string') assert.equal(handle.id, options.id);
  if (owner === undefined) ids.set(handle.id, as);
  submitted.set(as, { handle, result: () => handle.result().then(bodies.read) });
}

function handlesOf({ submitted }) {
  return [...submitted.values()].map(({ handle }) => handle).filter((handle) => handle !== undefined);
}

function handleOf({ submitted }, as) {
  const { handle } = submitted.get(as) || {};
  assert.ok(handle, `no command was submitted with options as ${as}`);
  return handle;
}

/** Calls `work` with the only one of these targets that a step names. */
function target(step, works) {
  const names = Object.keys(works).filter((name) => name in step);
  assert.equal(names.length, 1, `needs one of ${Object.keys(works).join(', ')}`);
  return works[names[0]](step[names[0]]);
}

async function newestProgress(handle, read) {
  const reports = handle.progress();
  // Without a value the iterator would wait for one.
  const { value } = await Promise.race([reports.next(), new Promise((resolve) => setTimeout(resolve, 20, {}))]);
  await reports.return();
  return given(read, value);
}

function shutdownNames(left) {
  return left.map(({ commandType }) => commandType);
}

/** The step's work, by the step's name. `state` holds the lane, what was submitted, and how to drain. */
const STEPS = {
  start({ lane }, step) {
    only('start', step);
    lane.start();
  },
  async submit(state, step) {
    const { as, lane: id, script = [[]], options, joins, error } = only(
      ...['submit', step, 'as', 'lane', 'script', 'options', 'joins', 'error'],
    );
    if (options !== undefined) {
      const submit = () => state.bodies.enqueue(state.lane, id, as, script, optionsOf(options));
      if (error === undefined) keep(state, step, submit());
      else await done(submit, error);
      return;
    }
    assert.equal(joins, undefined, 'joins needs options');
    const result = state.bodies.submit(state.lane, id, as, script);
    if (error !== undefined) {
      await done(() => result, error);
      return;
    }
    assert.ok(!state.submitted.has(as), `two commands are called ${as}`);
    result.catch(() => {});
    state.submitted.set(as, { result: () => result });
  },
  submit_many(state, step) {
    const { lane: id, commands } = only('submit_many', step, 'lane', 'commands');
    const each = commands.map(({ as, script = [[]], options = {} }) => ({
      commandType: as,
      script,
      options: optionsOf(options),
    }));
    const answers = state.bodies.submitMany(state.lane, id, each);
    assert.equal(answers.length, commands.length);
    commands.forEach((command, index) => {
      const { options = {}, error } = only('command', command, 'as', 'script', 'options', 'joins', 'error');
      const answer = answers[index];
      if (answer instanceof LaneError) assert.equal(answer.code, error, command.as);
      else assert.equal(error, undefined, `${command.as} was accepted`);
      if (error === undefined) keep(state, { ...command, options }, answer);
    });
  },
  async echo({ lane, bodies }, step) {
    const { lane: id, type, payload, error } = only('echo', step, 'lane', 'type', 'payload', 'error');
    await done(async () => assert.deepEqual(await bodies.echo(lane, id, type, payload), payload), error);
  },
  async await({ submitted }, step) {
    const { as, ok, error } = only('await', step, 'as', 'ok', 'error');
    assert.ok(submitted.has(as), `nothing was submitted as ${as}`);
    assert.ok('ok' in step !== 'error' in step, `await ${as} needs either ok or error`);
    await done(async () => assert.deepEqual(await submitted.get(as).result(), ok), error);
  },
  cancel(state, step) {
    const { found = true, count } = only('cancel', step, 'as', 'lane', 'key', 'found', 'count');
    assert.ok(('as' in step) === (count === undefined), 'cancel needs as, or lane or key with count');
    const counted = (got) => assert.equal(got, count);
    target(step, {
      as: (as) => assert.equal(state.lane.cancel(handleOf(state, as).id), found),
      lane: (id) => counted(state.lane.cancelLane(id)),
      key: (key) => counted(state.lane.cancelKey(key)),
    });
  },
  pause({ lane }, step) {
    only('pause', step, 'lane', 'key');
    target(step, { lane: (id) => lane.pauseLane(id), key: (key) => lane.pauseKey(key) });
  },
  resume({ lane }, step) {
    only('resume', step, 'lane', 'key');
    target(step, { lane: (id) => lane.resumeLane(id), key: (key) => lane.resumeKey(key) });
  },
  async set_lane({ lane }, { error, ...config }) {
    await done(() => lane.setLane(configOf(config)), error);
  },
  async remove_lane({ lane }, step) {
    const { id, error } = only('remove_lane', step, 'id', 'error');
    await done(() => lane.removeLane(id), error);
  },
  async set_max_concurrency({ lane }, step) {
    const { total, error } = only('set_max_concurrency', step, 'total', 'error');
    await done(() => lane.setMaxConcurrency(total), error);
  },
  async set_limiter({ lane }, { name, error, ...limiter }) {
    await done(() => lane.setLimiter(name, limiterOf(limiter)), error);
  },
  async explain(state, step) {
    const { as, reasons, none = false } = only('explain', step, 'as', 'reasons', 'none');
    assert.ok((reasons === undefined) === none, 'explain needs either reasons or none');
    const handle = handleOf(state, as);
    await soon(state, () => {
      const explanation = handle.explain();
      assert.deepEqual(state.lane.explain(handle.id) === null, explanation === null);
      if (none) assert.equal(explanation, null);
      else {
        const tables = reasons.map((reason) => (typeof reason === 'string' ? { reason } : reason));
        const found = new Map(explanation.reasons.map((each) => [each.reason, each]));
        assert.deepEqual(new Set(found.keys()), new Set(tables.map(({ reason }) => reason)));
        for (const table of tables) contains(found.get(table.reason), renamed(table));
      }
    });
  },
  async status(state, step) {
    const { as, is, now = false } = only('status', step, 'as', 'is', 'now');
    const look = () => assert.equal(handleOf(state, as).status, is);
    if (now) look();
    else await soon(state, look);
  },
  async chunks(state, step) {
    const { as, are } = only('chunks', step, 'as', 'are');
    const values = [];
    for await (const { value } of handleOf(state, as).chunks()) values.push(JSON.parse(value));
    assert.deepEqual(values, are);
  },
  async progress(state, step) {
    const { as, is } = only('progress', step, 'as', 'is');
    await soon(state, async () => assert.deepEqual(await newestProgress(handleOf(state, as), state.bodies.read), is));
  },
  async snapshot(state, step) {
    await soon(state, () => contains(state.lane.snapshot(), renamed(step)));
  },
  submitted({ log }, step) {
    const { lane, type, payload, found = true } = only('submitted', step, 'lane', 'type', 'payload', 'found');
    if (!found) {
      log.assertNotSubmitted(lane, type);
      return;
    }
    const submitted = log.assertSubmitted(lane, type);
    assert.deepEqual([submitted.laneId, submitted.commandType], [lane, type]);
    if ('payload' in step) assert.deepEqual(submitted.payload, payload);
  },
  advance_ms({ clock }, ms) {
    assert.ok(clock, 'the clock is not manual');
    clock.advance(ms);
  },
  async drain_now({ lane }, step) {
    const { left } = only('drain_now', step, 'left');
    assert.equal(await testing.drainNow(lane), left);
  },
  async sleep_ms(state, ms) {
    await new Promise((resolve) => setTimeout(resolve, ms));
  },
  shutdown({ lane }, step) {
    only('shutdown', step);
    lane.shutdown();
  },
  async shutdown_within({ lane }, step) {
    const { timeout_ms: timeoutMs, pending = [], stopped = [] } = only(
      ...['shutdown_within', step, 'timeout_ms', 'pending', 'stopped'],
    );
    const report = await lane.shutdownWithin(timeoutMs);
    assert.deepEqual(shutdownNames(report.pending), pending);
    assert.deepEqual(shutdownNames(report.stopped).sort(), [...stopped].sort());
    assert.equal(report.isClean, pending.length + stopped.length === 0);
  },
  async drain({ lane, drain }, step) {
    const { timeout_ms: timeoutMs, error } = only('drain', step, 'timeout_ms', 'error');
    await done(() => drain(lane, timeoutMs), error);
  },
  async stats({ lane }, step) {
    let stats;
    const look = () => holds((stats = lane.stats()), step);
    await eventually(look).catch(() => assert.fail(`expected ${JSON.stringify(step)}, got ${JSON.stringify(stats)}`));
  },
};

const SCENARIO = [
  ...['name', 'about', 'lanes', 'dlq_size', 'max_concurrency', 'limiters', 'clock', 'inline', 'steps', 'events'],
];

/**
 * Plays `scenario`; `drain(lane, timeoutMs)` is the way of draining under test, `bodies` how the commands are written, and
 * what a step looks for may take `patienceMs`.
 */
async function play(scenario, { drain, bodies = scripted, patienceMs }) {
  only('scenario', scenario, ...SCENARIO);
  const { steps, events } = scenario;
  assert.ok([undefined, 'manual'].includes(scenario.clock), 'an unknown clock');
  const clock = given(() => new testing.ManualClock(), scenario.clock);
  const log = new testing.SubmissionLog();
  const lane = testing.createLane({
    configs: given((lanes) => lanes.map(configOf), scenario.lanes),
    clock,
    inline: scenario.inline,
    submissionLog: log,
    dlqSize: scenario.dlq_size,
    maxConcurrency: scenario.max_concurrency,
    limiters: given(limitersOf, scenario.limiters),
  });
  // Everything, to know commands by name; and what the scenario asks for.
  const all = record(lane);
  const chosen = record(lane, events && events.keys);
  const state = { lane, clock, log, patienceMs, submitted: new Map(), ids: new Map(), drain, bodies };
  for (const [index, step] of steps.entries()) {
    const [[kind, fields], ...more] = Object.entries(step);
    assert.ok(kind in STEPS && more.length === 0, `unknown step ${JSON.stringify(step)}`);
    try {
      await STEPS[kind](state, fields);
      if (scenario.inline) await bodies.settled(handlesOf(state));
    } catch (error) {
      error.message = `step ${index + 1} ${JSON.stringify(step)}: ${error.message}`;
      throw error;
    }
  }
  // The end of the streams is the only proof that nothing else comes.
  const ends = steps.some((step) => 'shutdown' in step || 'shutdown_within' in step);
  lane.start();
  lane.shutdown();
  await Promise.all([all.done(), chosen.done()]);
  const wanted = ends ? () => true : (event) => !event.key.startsWith('queue.shutdown.');
  if (events !== undefined) checkEvents(events, state.ids, all.events.filter(wanted), chosen.events.filter(wanted));
}

module.exports = { play };
