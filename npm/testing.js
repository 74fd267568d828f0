'use strict';

const { AssertionError } = require('assert');

const check = require('./lib/check.js');
const { native, settled } = require('./lib/error.js');
const { ask, enqueue, enqueueMany, steered, submitted } = require('./lib/lane.js');
const { laneOptionNames, submitOptions } = require('./lib/settings.js');
const { NativeClock, NativeLog } = require('./native.js');

function scriptText(script) {
  return check.string('script (as JSON)', JSON.stringify(script));
}

function scripted(commandType, script, options) {
  return {
    commandType: check.string('commandType', commandType),
    payload: scriptText(script),
    scripted: true,
    options: check.optional(submitOptions, 'options', options),
  };
}

async function submitScripted(lane, laneId, commandType, script) {
  check.string('laneId', laneId);
  check.string('commandType', commandType);
  const text = scriptText(script);
  const result = ask(lane, (own) => own.submitScripted(laneId, commandType, text));
  submitted(lane);
  return JSON.parse(await settled(result));
}

function enqueueScripted(lane, laneId, commandType, script, options) {
  check.string('laneId', laneId);
  return enqueue(lane, laneId, scripted(commandType, script, options));
}

function submitManyScripted(lane, laneId, commands) {
  check.string('laneId', laneId);
  const each = ({ commandType, script, options }) => scripted(commandType, script, options);
  return enqueueMany(lane, laneId, check.array('commands', commands).map(each));
}

/** The native half of each `ManualClock` and `SubmissionLog`. */
const natives = new WeakMap();

function instance(type) {
  return (name, value) => natives.get(value instanceof type ? value : {}) || check.refuse(name, `a ${type.name}`, value);
}

/** The lanes that go by each native clock. */
const clocked = new WeakMap();

class ManualClock {
  constructor() {
    const own = new NativeClock();
    natives.set(this, own);
    clocked.set(own, new Set());
  }

  advance(ms) {
    check.number('ms', ms);
    // What was submitted before is there before.
    const lanes = clocked.get(natives.get(this));
    for (const reference of lanes) {
      const lane = reference.deref();
      if (lane === undefined) lanes.delete(reference);
      else ask(lane, () => {});
    }
    native(() => natives.get(this).advance(ms));
  }

  get elapsedMs() {
    return natives.get(this).elapsedMs();
  }
}

class SubmissionLog {
  constructor() {
    natives.set(this, new NativeLog());
  }

  submitted() {
    const all = natives.get(this).submitted();
    return all.map(({ payload, ...submitted }) => ({ ...submitted, payload: JSON.parse(payload) }));
  }

  assertSubmitted(laneId, commandType) {
    const found = this.#find(laneId, commandType);
    if (found !== undefined) return found;
    const all = this.submitted().map((each) => [each.laneId, each.commandType]);
    throw new AssertionError({
      message: `no '${commandType}' was submitted to '${laneId}', only ${JSON.stringify(all)}`,
      stackStartFn: this.assertSubmitted,
    });
  }

  assertNotSubmitted(laneId, commandType) {
    const found = this.#find(laneId, commandType);
    if (found === undefined) return;
    throw new AssertionError({
      message: `${JSON.stringify(found)} was submitted`,
      stackStartFn: this.assertNotSubmitted,
    });
  }

  #find(laneId, commandType) {
    check.string('laneId', laneId);
    check.string('commandType', commandType);
    return this.submitted().find((each) => each.laneId === laneId && each.commandType === commandType);
  }
}

const OWN = ['configs', 'clock', 'inline', 'submissionLog'];

function createLane(options = {}) {
  const { configs, clock, inline, submissionLog, ...shared } = check.fields(
    ...['options', options, [...OWN, ...laneOptionNames]],
  );
  const time = check.optional(instance(ManualClock), 'options.clock', clock);
  const lane = steered(configs, shared, {
    clock: time,
    inline: check.optional(check.boolean, 'options.inline', inline),
    log: check.optional(instance(SubmissionLog), 'options.submissionLog', submissionLog),
  });
  if (time !== undefined) clocked.get(time).add(new WeakRef(lane));
  return lane;
}

async function drainNow(lane) {
  return Number(await settled(ask(lane, (own) => own.drainNow())));
}

module.exports = {
  ManualClock,
  SubmissionLog,
  createLane,
  drainNow,
  enqueueScripted,
  submitManyScripted,
  submitScripted,
};
