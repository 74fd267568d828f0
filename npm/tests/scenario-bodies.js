'use strict';

// How the bodies of a scenario's commands are written: the same scripts, by the queue and by handlers in JavaScript.

const { LaneError } = require('@a3s-lab/lane');
const testing = require('@a3s-lab/lane/testing');

/** How long a handler that was asked to stop goes on with a sleep. The scripts have none of that length. */
const GRACE_MS = 200;

/** Commands that follow their scripts by themselves. */
const scripted = {
  async settled() {},
  /** Results and progress are JSON text. */
  read: JSON.parse,
  echo: (lane, laneId, type, payload) => JSON.parse(lane.submit(laneId, type, JSON.stringify(payload))),
  submit: (lane, laneId, name, script) => testing.submitScripted(lane, laneId, name, script),
  enqueue: (lane, laneId, name, script, options) => testing.enqueueScripted(lane, laneId, name, script, options),
  submitMany: (lane, laneId, commands) => testing.submitManyScripted(lane, laneId, commands),
};

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves when the attempt is asked to stop. */
function stopped(signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function sleep(ms, { signal }) {
  const end = Date.now() + ms;
  let timer;
  const slept = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([slept, stopped(signal)]);
  clearTimeout(timer);
  const left = end - Date.now();
  if (left <= 0) return;
  await pause(Math.min(left, GRACE_MS));
  if (left > GRACE_MS) throw signal.reason;
}

/** The steps that neither wait nor end the attempt with a value. */
const TELL = {
  fail(text) {
    throw new Error(text);
  },
  unrecoverable(text) {
    throw LaneError.unrecoverable(text);
  },
  panic(text) {
    throw new LaneError(text, 'PANICKED');
  },
  progress: (value, ctx) => ctx.progress(value),
  emit: (value, ctx) => ctx.emit(value),
  heartbeat: (_, ctx) => ctx.heartbeat(),
  settle_cost: (cost, ctx) => ctx.settleCost(cost),
};

async function play(script, attempt, ctx) {
  // Once the entries have run out the last one repeats.
  for (const step of script[Math.min(attempt, script.length - 1)] || []) {
    const [[name, value]] = Object.entries(step);
    if (name === 'return') return value;
    if (name === 'return_metadata') return ctx.metadata;
    if (name === 'sleep_ms') await sleep(value, ctx);
    else if (name === 'await_cancel') await stopped(ctx.signal);
    else if (name === 'child') await ctx.submitChild(value.lane_id, value.command_type, value.script);
    else TELL[name](value, ctx);
  }
  return null;
}

/** The handlers of a command and of the children that its script names. */
function register(lane, name, script) {
  // Unlike `ctx.attempt` it counts what was preempted, as a scripted command does.
  const attempts = new Map();
  lane.handle(name, (payload, ctx) => {
    const attempt = attempts.get(ctx.id) || 0;
    attempts.set(ctx.id, attempt + 1);
    return play(payload, attempt, ctx);
  });
  for (const { child } of script.flat()) {
    if (child !== undefined) register(lane, child.command_type, child.script);
  }
}

/** Commands whose payload is the script, which the handler of their type plays. */
const handled = {
  /** In an inline lane a submission returns when its handler has begun: what it awaits needs turns of the event loop. */
  async settled(handles) {
    for (const handle of handles) {
      if (handle.status === 'running' || handle.status === 'pending') await handle.result().catch(() => {});
    }
  },
  read: (value) => value,
  echo: (lane, laneId, type, payload) => lane.submitAsync(laneId, type, payload),
  async submit(lane, laneId, name, script) {
    register(lane, name, script);
    return lane.submitAsync(laneId, name, script);
  },
  enqueue(lane, laneId, name, script, options) {
    register(lane, name, script);
    return lane.enqueue(laneId, name, script, options);
  },
  submitMany(lane, laneId, commands) {
    for (const { commandType, script } of commands) register(lane, commandType, script);
    return lane.submitMany(
      laneId,
      commands.map(({ commandType, script, options }) => ({ commandType, payload: script, options })),
    );
  },
};

module.exports = { handled, scripted };
