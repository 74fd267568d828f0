'use strict';

// What is kept of commands outside of JavaScript: by a storage, which the next process reads, or for dead letters.

const { NativeLane } = require('../native.js');
const check = require('./check.js');
const { LaneError, native, settled } = require('./error.js');

/** Payloads and results stay in JavaScript. */
const NOTHING = 0;
/** Payloads are told too, for dead letters and the log of a test. */
const PAYLOADS = 1;
/** Payloads and results leave JavaScript as JSON: the command may run in another process. */
const EVERYTHING = 2;

/** What a lane with these checked options keeps; `log` is that of a test. */
function what({ storage, dlqSize }, log) {
  if (storage !== undefined) return EVERYTHING;
  return dlqSize === undefined && log === undefined ? NOTHING : PAYLOADS;
}

/** The JSON text of a payload; undefined for what JSON does not know, such as a function. Throws what JSON throws. */
function text(payload) {
  return payload === undefined ? 'null' : JSON.stringify(payload);
}

/** A command for the native half, with its payload as text. */
function command(slot, options) {
  const { commandType } = slot.kind;
  if (!slot.isJson) return { commandType, payload: told(slot.payload), stays: true, options };
  const payload = stored(slot.payload);
  // A handler gets the same in this process as in another one.
  if (slot.kind.bridge.keeps === EVERYTHING) slot.payload = JSON.parse(payload);
  return { commandType, payload, options };
}

function told(payload) {
  try {
    return text(payload);
  } catch {
    // Its dead letter has none.
    return undefined;
  }
}

function stored(payload) {
  let json;
  try {
    json = text(payload);
  } catch (error) {
    throw new LaneError(`payload cannot be made JSON: ${error.message}`, 'INVALID_PAYLOAD', { cause: error });
  }
  if (json === undefined) throw new LaneError(`payload cannot be made JSON: it is a ${typeof payload}`, 'INVALID_PAYLOAD');
  return json;
}

/** Keeps the process alive until a command is in the storage, or refused. */
function untilAccepted(handle) {
  // Who wants to know of a refusal asks the handle.
  return settled(native(() => handle.accepted())).catch(() => {});
}

const REASONS = { no_handler: 'no_handler', no_lane: 'no_lane' };

/** Commands of a text of the core that wait for what they miss. */
function unclaimed(json) {
  return JSON.parse(json).map(({ record, reason }) => ({
    commandId: record.command.id,
    commandType: record.command.command_type,
    laneId: record.command.lane_id,
    attempts: record.command.retry_count,
    crashes: record.crashes,
    createdAt: record.command.created_at,
    reason: REASONS[reason] || 'unreadable',
    message: typeof reason === 'object' ? reason.unreadable : null,
  }));
}

/** What a directory holds that the option `storage` has named; see `Inspection`. */
async function inspect(directory) {
  check.string('directory', directory);
  const found = JSON.parse(await settled(native(() => NativeLane.inspectStorage(directory))));
  return {
    directory: found.directory,
    format: found.format,
    lanes: found.lanes.map((lane) => ({
      laneId: lane.lane_id,
      pending: lane.pending,
      oldestCreatedAt: lane.oldest_created_at,
    })),
    pending: found.pending,
    running: found.running,
    deadLetters: found.dead_letters,
    results: found.results,
    history: found.history,
    fileBytes: found.file_bytes,
    logBytes: found.log_bytes,
    problems: found.problems,
  };
}

/** The native halves of lanes that end with the process, each with what finds it again when it is garbage. */
const lanes = new Map();
const collected = new FinalizationRegistry((reference) => lanes.delete(reference));
/** The end of the process is listened to. */
let listens = false;

/**
 * What runs when the process ends is told to be stopped: its attempt does not count, and is no crash. A process that is killed
 * says nothing more.
 */
function endWithProcess(lane) {
  for (const reference of lanes.keys()) if (reference.deref() === lane) return;
  if (!listens) process.on('exit', endAll);
  listens = true;
  const reference = new WeakRef(lane);
  lanes.set(reference, true);
  collected.register(lane, reference);
}

function endAll() {
  for (const reference of lanes.keys()) {
    const lane = reference.deref();
    if (lane !== undefined) native(() => lane.endNow());
  }
}

module.exports = { EVERYTHING, NOTHING, PAYLOADS, command, endWithProcess, inspect, text: stored, unclaimed, untilAccepted, what };
