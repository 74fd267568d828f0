'use strict';

// Plays one scenario of tests/scenarios against this package. The tables are shared with the other languages; what this
// player does not know is an error, so that no step or expectation is skipped silently.

const assert = require('node:assert/strict');

const { Lane } = require('@a3s-lab/lane');
const { submitScripted } = require('@a3s-lab/lane/testing');
const { eventually, record } = require('./support.js');

/** The fields of `value`, which must be among `known`. */
function only(what, value, ...known) {
  for (const key of Object.keys(value)) assert.ok(known.includes(key), `${what} has the unknown field '${key}'`);
  return value;
}

function retryOf(retry) {
  if (retry === undefined || retry === null) return undefined;
  only('retry', retry, 'max_retries', 'initial_delay_ms', 'max_delay_ms', 'multiplier');
  return {
    maxRetries: retry.max_retries,
    initialDelayMs: retry.initial_delay_ms,
    maxDelayMs: retry.max_delay_ms,
    multiplier: retry.multiplier,
  };
}

function configOf(lane) {
  only('lane', lane, 'id', 'priority', 'min', 'max', 'timeout_ms', 'retry', 'pressure_threshold');
  return {
    laneId: lane.id,
    priority: lane.priority,
    minConcurrency: lane.min,
    maxConcurrency: lane.max,
    timeoutSecs: typeof lane.timeout_ms === 'number' ? lane.timeout_ms / 1000 : undefined,
    retryPolicy: retryOf(lane.retry),
    pressureThreshold: lane.pressure_threshold,
  };
}

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

/** The step's work, by the step's name. `play` holds the lane, the submitted results and how to drain. */
const STEPS = {
  start: ({ lane }, step) => {
    only('start', step);
    lane.start();
  },
  async submit({ lane, results }, step) {
    const { as, lane: id, script, error } = only('submit', step, 'as', 'lane', 'script', 'error');
    const result = submitScripted(lane, id, as, script === undefined ? [[]] : script);
    if (error !== undefined) {
      await assert.rejects(result, { name: 'LaneError', code: error });
      return;
    }
    assert.ok(!results.has(as), `two commands are called ${as}`);
    result.catch(() => {});
    results.set(as, result);
  },
  echo({ lane }, step) {
    const { lane: id, type, payload, error } = only('echo', step, 'lane', 'type', 'payload', 'error');
    const work = () => JSON.parse(lane.submit(id, type, JSON.stringify(payload)));
    if (error === undefined) assert.deepEqual(work(), payload);
    else assert.throws(work, { name: 'LaneError', code: error });
  },
  async await({ results }, step) {
    const { as, ok, error } = only('await', step, 'as', 'ok', 'error');
    assert.ok(results.has(as), `nothing was submitted as ${as}`);
    assert.ok('ok' in step !== 'error' in step, `await ${as} needs either ok or error`);
    if (error === undefined) assert.deepEqual(await results.get(as), ok);
    else await assert.rejects(results.get(as), { name: 'LaneError', code: error });
  },
  shutdown: ({ lane }, step) => {
    only('shutdown', step);
    lane.shutdown();
  },
  async drain({ lane, drain }, step) {
    const { timeout_ms: timeoutMs, error } = only('drain', step, 'timeout_ms', 'error');
    if (error === undefined) await drain(lane, timeoutMs);
    else await assert.rejects(async () => drain(lane, timeoutMs), { name: 'LaneError', code: error });
  },
  async stats({ lane }, step) {
    let stats;
    const look = () => holds((stats = lane.stats()), step);
    await eventually(look).catch(() => assert.fail(`expected ${JSON.stringify(step)}, got ${JSON.stringify(stats)}`));
  },
};

/** Names events as the tables do: `started a`, `submitted high`, `shutdown.started`. */
class Naming {
  #types = new Map();

  constructor(all) {
    for (const event of all) {
      const { command_id: id, command_type: type } = JSON.parse(event.payload) || {};
      if (type !== undefined) this.#types.set(id, type);
    }
  }

  /** The command of an event, if it is about one. */
  command({ payload }) {
    const { command_id: id, command_type: type } = JSON.parse(payload) || {};
    return type === undefined ? this.#types.get(id) : type;
  }

  kind({ key }) {
    return key.replace(/^queue\.(command\.)?/, '');
  }

  name(event) {
    const { lane_id: lane } = JSON.parse(event.payload) || {};
    const subject = this.command(event) || lane;
    return subject === undefined ? this.kind(event) : `${this.kind(event)} ${subject}`;
  }
}

/** How many commands of each lane ran at once at most. */
function mostActive(events) {
  const ends = ['queue.command.completed', 'queue.command.failed', 'queue.command.timeout', 'queue.command.retry'];
  const active = {};
  const most = {};
  for (const { key, payload } of events) {
    const { lane_id: lane } = JSON.parse(payload) || {};
    if (key === 'queue.command.started') active[lane] = (active[lane] || 0) + 1;
    else if (ends.includes(key)) active[lane] -= 1;
    if (lane !== undefined) most[lane] = Math.max(most[lane] || 0, active[lane] || 0);
  }
  return most;
}

function checkEvents(expected, all, chosen) {
  const { order, each, max_active: limits } = only('events', expected, 'keys', 'order', 'each', 'max_active');
  const naming = new Naming(all);
  if (order !== undefined) assert.deepEqual(chosen.map((event) => naming.name(event)), order);
  for (const [as, kinds] of Object.entries(each || {})) {
    const own = chosen.filter((event) => naming.command(event) === as);
    assert.deepEqual(own.map((event) => naming.kind(event)), kinds, `events of ${as}`);
  }
  const most = mostActive(all);
  for (const [id, limit] of Object.entries(limits || {})) assert.equal(most[id], limit, `most active of ${id}`);
}

/** Plays `scenario`; `drain(lane, timeoutMs)` is the way of draining under test. */
async function play(scenario, drain) {
  only('scenario', scenario, 'name', 'about', 'lanes', 'dlq_size', 'steps', 'events');
  const { lanes, dlq_size: dlqSize, steps, events } = scenario;
  const options = { dlqSize: dlqSize === null ? undefined : dlqSize };
  const lane = lanes === undefined ? new Lane(options) : Lane.withLanes(lanes.map(configOf), options);
  // Everything, to know commands by name; and what the scenario asks for.
  const all = record(lane);
  const chosen = record(lane, events && events.keys);
  const state = { lane, results: new Map(), drain };
  for (const step of steps) {
    const [[kind, fields], ...more] = Object.entries(step);
    assert.ok(kind in STEPS && more.length === 0, `unknown step ${JSON.stringify(step)}`);
    await STEPS[kind](state, fields);
  }
  // The end of the streams is the only proof that nothing else comes.
  const ends = steps.some((step) => 'shutdown' in step);
  lane.start();
  lane.shutdown();
  await Promise.all([all.done(), chosen.done()]);
  const wanted = ends ? () => true : (event) => !event.key.startsWith('queue.shutdown.');
  if (events !== undefined) checkEvents(events, all.events.filter(wanted), chosen.events.filter(wanted));
}

module.exports = { play };
