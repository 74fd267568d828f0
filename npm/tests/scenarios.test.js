'use strict';

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { play } = require('./scenario.js');
const { handled } = require('./scenario-bodies.js');
const { root } = require('./support.js');

const folder = path.join(root, 'tests', 'scenarios');
const files = fs.readdirSync(folder).filter((name) => name.endsWith('.json'));

const drainAsync = (lane, timeoutMs) => lane.drainAsync(timeoutMs);

test('there are scenarios', () => {
  assert.ok(files.length > 0);
});

const WAYS = {
  drain: { drain: (lane, timeoutMs) => lane.drain(timeoutMs) },
  drainAsync: { drain: drainAsync },
  handlers: { drain: drainAsync, bodies: handled },
};

/** Whether a scenario blocks the event loop, and with it every scenario beside it. */
function blocks(scenario, way) {
  if (way === 'handlers') return false;
  return way === 'drain' || scenario.inline || scenario.steps.some((step) => 'echo' in step);
}

for (const file of files) {
  const subject = path.basename(file, '.json');
  const together = [];
  for (const scenario of JSON.parse(fs.readFileSync(path.join(folder, file), 'utf8'))) {
    const drains = scenario.steps.some((step) => 'drain' in step);
    for (const way of Object.keys(WAYS)) {
      if (way === 'drain' && !drains) continue;
      const name = `${subject}: ${scenario.name} (${way})`;
      const work = () => play(scenario, WAYS[way]);
      if (blocks(scenario, way)) test(name, work);
      else together.push([name, work]);
    }
  }
  test(`${subject}, side by side`, { concurrency: together.length || 1 }, (t) =>
    Promise.all(together.map(([name, work]) => t.test(name, work))),
  );
}

const held = { submit: { as: 'a', lane: 'query', options: {} } };
const right = { name: 'n', about: 'a', steps: [{ start: {} }, { echo: { lane: 'query', type: 't', payload: 1 } }] };
const wrong = {
  'an unknown step': { steps: [{ dance: {} }] },
  'an unknown field of a step': { steps: [{ start: { slowly: true } }] },
  'an unknown field of a scenario': { tempo: 1 },
  'an unknown field of a lane': { lanes: [{ id: 'query', priority: 0, colour: 'red' }] },
  'a wrong result': { steps: [{ start: {} }, { submit: { as: 'a', lane: 'query' } }, { await: { as: 'a', ok: 1 } }] },
  'a wrong error': { steps: [{ start: {} }, { submit: { as: 'a', lane: 'query', error: 'TIMEOUT' } }] },
  'a wrong field of a reason': {
    steps: [held, { explain: { as: 'a', reasons: [{ reason: 'not_started', commands: 1 }] } }],
  },
  'a wrong snapshot': { steps: [held, { snapshot: { pending: 2 } }] },
  'an unknown field of a snapshot': { steps: [{ snapshot: { colour: 'red' } }] },
  'a snapshot of fewer lanes': { steps: [{ snapshot: { lanes: [] } }] },
  'a submission after all': { steps: [held, { submitted: { lane: 'query', type: 'a', found: false } }] },
  'no submission': { steps: [{ submitted: { lane: 'query', type: 'a' } }] },
  'a wrong payload': { steps: [held, { submitted: { lane: 'query', type: 'a', payload: 1 } }] },
  'an unknown clock': { clock: 'sundial' },
  'a real clock that is moved': { steps: [{ advance_ms: 1 }] },
  'a wrong number of commands left': {
    steps: [{ start: {} }, { pause: { lane: 'query' } }, held, { drain_now: { left: 0 } }],
  },
  'a status that is not there': { steps: [held, { status: { as: 'a', is: 'running', now: true } }] },
  'a missing event': { events: { keys: ['queue.command.started'], order: ['started t', 'started t'] } },
  'an event too many': { events: { keys: ['queue.command.started'], order: [] } },
  'a wrong story of one command': { events: { each: { t: ['started', 'failed'] } } },
  'a wrong number of commands at once': { events: { max_active: { query: 2 } } },
};

test('the player plays a right scenario', () => play(right, WAYS.drain));
for (const [what, change] of Object.entries(wrong)) {
  // What does not come need not be awaited for long.
  test(`the player refuses ${what}`, () => assert.rejects(play({ ...right, ...change }, { ...WAYS.drain, patienceMs: 200 })));
}
