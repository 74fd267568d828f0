'use strict';

const { abort } = require('./abort.js');
const { LaneError, native } = require('./error.js');

/** As `number_of` in bindings/node/src/exchange.rs. */
const REASONS = [undefined, 'deadline', 'stall', 'cancel', 'preempt', 'shutdown'];

function stopError(reason) {
  switch (reason) {
    case 'deadline':
      return new LaneError('the attempt ran longer than it may', 'TIMEOUT');
    case 'stall':
      return new LaneError('the attempt gave no sign of life for longer than it may', 'STALLED');
    case 'cancel':
      return new LaneError('the command was cancelled', 'CANCELLED');
    case 'preempt':
      return new LaneError('the command makes room for a more urgent lane', 'CANCELLED');
    default:
      return new LaneError('the queue ends', 'SHUTDOWN_IN_PROGRESS');
  }
}

/** One attempt that runs here, as the package sees it. */
class Call {
  constructor(bridge, place, run, attempt, slot) {
    this.bridge = bridge;
    /** By these two the native half knows it. */
    this.place = place;
    this.run = run;
    this.attempt = attempt;
    /** The command; it may have settled while the attempt goes on. */
    this.slot = slot;
    this.facts = undefined;
    this.reason = undefined;
    this.controller = undefined;
    this.over = false;
    /** What it has returned, or how it has failed. */
    this.ended = undefined;
  }

  /** What is known of the attempt. Asked for once: most handlers do not look. */
  known() {
    if (this.facts === undefined) {
      const facts = this.over ? null : this.bridge.read((lane) => lane.facts(this.place, this.run));
      if (facts === null) return { id: undefined, laneId: this.slot.kind.laneId, metadata: {}, deadline: null };
      const { id, laneId, metadata, timeLeftMs } = facts;
      const deadline = timeLeftMs === undefined ? null : Date.now() + timeLeftMs;
      this.facts = { id, laneId, metadata: JSON.parse(metadata), deadline };
    }
    return this.facts;
  }

  timeLeftMs() {
    const { deadline } = this.known();
    if (deadline === null) return null;
    if (!this.bridge.hasManualClock) return Math.max(0, deadline - Date.now());
    const facts = this.over ? null : this.bridge.read((lane) => lane.facts(this.place, this.run));
    return facts === null ? 0 : facts.timeLeftMs;
  }

  stopReason() {
    if (this.reason === undefined && !this.over) {
      this.reason = REASONS[this.bridge.read((lane) => lane.stopReason(this.place, this.run))];
    }
    return this.reason;
  }

  signal() {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.reason === undefined && !this.over) {
        this.reason = REASONS[this.bridge.read((lane) => lane.watch(this.place, this.run))];
      }
      if (this.reason !== undefined) this.abort();
    }
    return this.controller.signal;
  }

  /** The attempt is asked to stop; with `names`, it is over. */
  stop(reason, names) {
    this.reason = REASONS[reason];
    if (names !== undefined) {
      this.over = true;
      if (this.facts === undefined) this.facts = { ...names, metadata: {}, deadline: null };
    }
    if (this.controller !== undefined) this.abort();
  }

  abort() {
    if (this.controller.signal.aborted) return;
    // Not in the context of whoever else's call brought this about.
    this.slot.runInAsyncScope(() => abort(this.controller, stopError(this.reason)));
  }

  tell(say) {
    if (!this.over) this.bridge.ask(say);
  }

  /** Tells what a handle keeps. */
  report(say) {
    if (this.slot.handle !== undefined) this.slot.handle._keep();
    this.tell(say);
  }
}

/** JSON text of what a handler tells; `undefined` is told as null. */
function json(value) {
  const text = JSON.stringify(value);
  return text === undefined ? 'null' : text;
}

/** One attempt, as its handler sees it. After its end it tells nothing more. */
class CommandContext {
  #call;

  constructor(call) {
    this.#call = call;
  }

  get id() {
    return this.#call.known().id;
  }

  get laneId() {
    const { laneId } = this.#call.slot.kind;
    return laneId === undefined ? this.#call.known().laneId : laneId;
  }

  get attempt() {
    return this.#call.attempt;
  }

  get metadata() {
    return this.#call.known().metadata;
  }

  get deadline() {
    const { deadline } = this.#call.known();
    return deadline === null ? null : new Date(deadline);
  }

  get timeLeftMs() {
    return this.#call.timeLeftMs();
  }

  get signal() {
    return this.#call.signal();
  }

  get stopReason() {
    return this.#call.stopReason();
  }

  progress(value) {
    const { place, run } = this.#call;
    const text = json(value);
    this.#call.report((lane) => lane.reportProgress(place, run, text));
  }

  emit(chunk) {
    const { place, run } = this.#call;
    const text = json(chunk);
    this.#call.report((lane) => lane.emitChunk(place, run, text));
  }

  heartbeat() {
    const { place, run } = this.#call;
    this.#call.tell((lane) => lane.heartbeat(place, run));
  }

  settleCost(cost) {
    const { place, run } = this.#call;
    if (typeof cost !== 'number') throw new TypeError(`cost must be a number (got ${typeof cost})`);
    this.#call.tell((lane) => lane.settleCost(place, run, cost));
  }

  async submitChild(laneId, commandType, payload, options) {
    return this.#call.bridge.submitChild(this.#call, laneId, commandType, payload, options);
  }
}

module.exports = { Call, CommandContext, REASONS, json };
