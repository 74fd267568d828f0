'use strict';

// Compares what subscribers saw with what a scenario expects.

const assert = require('node:assert/strict');

const { only } = require('./scenario-settings.js');

function kind({ key }) {
  return key.replace(/^queue\.(command\.)?/, '');
}

/** Names events as the tables do: `started a`, `submitted high`, `shutdown.started`. */
class Naming {
  /** The names of commands by their ids: those of handles, and what events tell. */
  #names;

  constructor(ids, all) {
    this.#names = new Map(ids);
    for (const event of all) {
      const { command_id: id, command_type: type } = JSON.parse(event.payload) || {};
      if (type !== undefined) this.#names.set(id, type);
    }
  }

  /** The command of an event, if it is about one. */
  command({ payload }) {
    return this.#names.get((JSON.parse(payload) || {}).command_id);
  }

  name(event) {
    const { lane_id: lane } = JSON.parse(event.payload) || {};
    const subject = this.command(event) || lane;
    return subject === undefined ? kind(event) : `${kind(event)} ${subject}`;
  }
}

const ENDS = ['completed', 'failed', 'timeout', 'retry', 'cancelled', 'preempted'];

/** How many commands of each lane ran at once at most. */
function mostActive(events) {
  const running = {};
  const most = {};
  for (const event of events) {
    const { lane_id: lane, command_id: id } = JSON.parse(event.payload) || {};
    if (lane === undefined) continue;
    running[lane] = running[lane] || new Set();
    if (kind(event) === 'started') running[lane].add(id);
    // A command that was cancelled while it waited had no slot.
    else if (ENDS.includes(kind(event))) running[lane].delete(id);
    most[lane] = Math.max(most[lane] || 0, running[lane].size);
  }
  return most;
}

function checkEvents(expected, ids, all, chosen) {
  const { order, each, max_active: limits } = only('events', expected, 'keys', 'order', 'each', 'max_active');
  const naming = new Naming(ids, all);
  if (order !== undefined) assert.deepEqual(chosen.map((event) => naming.name(event)), order);
  for (const [as, kinds] of Object.entries(each || {})) {
    const own = chosen.filter((event) => naming.command(event) === as);
    assert.deepEqual(own.map(kind), kinds, `events of ${as}`);
  }
  const most = mostActive(all);
  for (const [id, limit] of Object.entries(limits || {})) assert.equal(most[id] || 0, limit, `most active of ${id}`);
}

module.exports = { checkEvents };
