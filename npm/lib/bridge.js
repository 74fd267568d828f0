'use strict';

// The other half of bindings/node/src/exchange.rs. Commands that JavaScript submits and runs stay here; the native half
// decides when they run. Both say what they have to say in batches: one call into the native half takes what was submitted
// and what has ended, and brings what begins, what stops and what has settled. JavaScript is never called from there, except
// to say that something waits to be taken.

const { AsyncResource } = require('async_hooks');
// Node's own: a test may put others in the place of the global ones.
const { setImmediate, setTimeout } = require('timers');

const alive = require('./alive.js');
const { Calls } = require('./calls.js');
const { json } = require('./context.js');
const { LaneError, native, translated } = require('./error.js');
const { CommandHandle } = require('./handle.js');
const kept = require('./kept.js');
const settings = require('./settings.js');
const { Slot } = require('./slot.js');

/** Numbers of one record that is said, and of one that is told. */
const SAID = 3;
const TOLD = 6;
// What JavaScript says.
const SUBMIT = 1;
const FINISH = 2;
const ECHO = 3;
// What it is told.
const NONE = 0;
const CALL = 1;
const CALL_JSON = 2;
const STOP = 3;
const OVER = 4;
const COMPLETED = 5;
const COMPLETED_JSON = 6;
const FAILED = 7;
const REPORT = 8;

/** Records that are taken at once. */
const BATCH = 256;
/** What is submitted in one go is said in parts of this size. */
const PART = 1024;
/** Batches in one turn of Node's event loop: then timers and sockets have their turn. */
const BATCHES = 256;

/** How soon a process that might end looks again whether commands run. */
const LOOK_MS = 2;

const RESOLVED = Promise.resolve();

/** With the number of records that are said: none is taken. */
const SAYS_ONLY = 2 ** 31;

/** How many of what is used again are kept. */
const SPARE = 1024;

class Bridge {
  #native;
  /** Lanes and types of commands, by lane and type. */
  #kinds = new Map();
  #slots = [];
  /** Tokens without a slot; the last one is used next. */
  #free = [];
  /** Who waits for the next report of a command, by a number. */
  #reports = new Map();
  #lastReport = 0;

  #inbox = new Uint32Array(1 + PART * SAID);
  #said = 0;
  #outbox = new Int32Array(2 + BATCH * TOLD);
  /** Says what is in `#inbox`, and takes what there is into `#outbox`. */
  #exchange;

  #scheduled = false;
  #batches = 0;
  /** A look at the end of this turn of the event loop is under way. */
  #ticking = false;
  /** Somebody waits for so many results. */
  #awaited = 0;
  /** Before the start no result can come, and nothing is worth waiting for. */
  #started = false;
  #held = false;
  #looking = false;

  /** Records are acted upon; those from this place on were not yet. */
  #acting = false;
  #at = 2;
  #texts;

  constructor(lane, { hasManualClock, keeps }) {
    this.#native = lane;
    /** What of a command leaves JavaScript: see kept.js. */
    this.keeps = keeps;
    /** For tests: the time is moved by hand. */
    this.hasManualClock = hasManualClock;
    /** Handlers, and what of them runs. */
    this.calls = new Calls(this, lane);
    /** The asynchronous context of commands that nobody here has submitted. */
    this.root = new AsyncResource('A3sLane', { requireManualDestroy: true });
    this.#exchange = native(() => lane.host(waker(new WeakRef(this)), this.#inbox, Buffer.from(this.#outbox.buffer)));
  }

  // Commands.

  /** Submits a command without options, and promises its result. */
  submit(laneId, commandType, payload) {
    const kind = this.#kind(laneId, commandType);
    if (kind.number === -1 || this.keeps !== kept.NOTHING) return this.submitWith(laneId, commandType, payload);
    const slot = this.#open(kind, payload);
    this.#say(SUBMIT, slot.token, kind.number);
    return slot.result();
  }

  /** As `submit`, with checked options. */
  submitWith(laneId, commandType, payload, options) {
    const { slot } = this.enqueue(laneId, commandType, payload, options);
    return slot.result();
  }

  /** Submits a command with checked options; throws when it is refused. */
  enqueue(laneId, commandType, payload, options) {
    this.push();
    this.schedule();
    const slot = this.#open(this.#kind(laneId, commandType), payload);
    try {
      const handle = this.#native.enqueueHosted(laneId, command(slot, options), slot.token);
      if (this.keeps === kept.EVERYTHING) kept.untilAccepted(handle).then(this.#holdWhileActive);
      return { handle, slot };
    } catch (error) {
      this.#close(slot);
      throw translated(error);
    }
  }

  /**
   * Submits commands with checked options; each answer has a slot if it was accepted. With a storage one that it cannot keep is refused
   * by itself, and the others go into it together.
   */
  enqueueMany(laneId, commands) {
    this.push();
    this.schedule();
    const slots = [];
    const each = [];
    let answers;
    let told;
    try {
      answers = commands.map(({ commandType, payload, options }) => {
        const slot = this.#open(this.#kind(laneId, commandType), payload);
        slots.push(slot);
        try {
          each.push(command(slot, options));
        } catch (error) {
          if (this.keeps !== kept.EVERYTHING || !(error instanceof LaneError)) throw error;
          this.#close(slots.pop());
          return { answer: error };
        }
        return { slot };
      });
      const tokens = slots.map(({ token }) => token);
      told = native(() => this.#native.submitManyHosted(laneId, each, tokens)).values();
    } catch (error) {
      for (const slot of slots) this.#close(slot);
      throw error;
    }
    for (const accepted of answers) {
      if (accepted.slot === undefined) continue;
      accepted.answer = told.next().value;
      if (accepted.answer.code !== undefined) this.#close(accepted.slot);
      else if (this.keeps === kept.EVERYTHING) kept.untilAccepted(accepted.answer.handle).then(this.#holdWhileActive);
    }
    return answers;
  }

  /**
   * Submits commands without options; each answer is a handle, or the error of a refused one. It costs far less than a native
   * object for each. Undefined when that cannot be: the lane may let them wait for room, or has too many kinds of commands.
   */
  enqueuePlain(laneId, commands) {
    if (this.keeps !== kept.NOTHING) return undefined;
    this.push();
    this.schedule();
    const count = commands.length;
    const slots = new Array(count);
    const records = new Uint32Array(count * 2);
    const serials = new Float64Array(count);
    let isKnown = true;
    for (let index = 0; index < count; index += 1) {
      const { commandType, payload } = commands[index];
      const slot = this.#open(this.#kind(laneId, commandType), payload);
      slots[index] = slot;
      records[index * 2] = slot.token;
      records[index * 2 + 1] = slot.kind.number;
      if (slot.kind.number === -1) isKnown = false;
    }
    let refused;
    try {
      refused = isKnown ? native(() => this.#native.submitTokens(laneId, records, Buffer.from(serials.buffer))) : null;
    } catch (error) {
      for (const slot of slots) this.#close(slot);
      throw error;
    }
    if (refused === null) {
      for (const slot of slots) this.#close(slot);
      return undefined;
    }
    const answers = new Array(count);
    for (let index = 0; index < count; index += 1) {
      const slot = slots[index];
      slot.handle = new CommandHandle(undefined, this, slot, serials[index]);
      answers[index] = slot.handle;
    }
    for (const { index, code, message } of refused) {
      this.#close(slots[index]);
      answers[index] = new LaneError(message, code);
    }
    return answers;
  }

  /** The native handle of such a command; undefined when it has settled: then the handle that somebody has was told how. */
  handleOf(slot) {
    this.push();
    const handle = native(() => this.#native.handleOf(slot.token));
    if (handle !== null) return handle;
    // What became of it was told, but not acted upon yet: now is the time.
    const record = this.#outbox;
    for (let at = this.#at; at < 2 + record[0] * TOLD; at += TOLD) {
      if (record[at] >= COMPLETED && record[at] <= FAILED && record[at + 1] === slot.token) {
        const kind = record[at];
        record[at] = NONE;
        this.#act(kind, at, this.#texts);
        return undefined;
      }
    }
    const status = native(() => this.#native.untold(slot.token));
    if (status !== null && slot.handle !== undefined) slot.handle._settled(status);
    return undefined;
  }

  /** The id of the command with this number. */
  idOf(serial) {
    return native(() => this.#native.idOf(serial));
  }

  submitChild(call, laneId, commandType, payload, options) {
    const checked = settings.submission(laneId, commandType, options);
    this.push();
    this.schedule();
    const slot = this.#open(this.#kind(laneId, commandType), payload);
    try {
      this.#native.submitChild(call.place, call.run, laneId, command(slot, checked), slot.token);
    } catch (error) {
      this.#close(slot);
      throw translated(error);
    }
    return slot.result();
  }

  /** The next report of a command. */
  report(reports) {
    this.push();
    this.schedule();
    // Comes back as a signed number.
    this.#lastReport = (this.#lastReport + 1) & 0x7fffffff;
    // It is told later, at the earliest when this has returned.
    native(() => reports.nextHosted(this.#lastReport));
    const report = new Promise((resolve) => this.#reports.set(this.#lastReport, resolve));
    if (this.#started) this.hold();
    return report;
  }

  #reported(number, report) {
    const resolve = this.#reports.get(number);
    this.#reports.delete(number);
    resolve(report);
  }

  // The native half.

  /**
   * Calls the native half, which learns first of what was submitted before. What such a call brings about is taken soon, as after
   * every call: the native half counts on that.
   */
  ask(work) {
    this.push();
    this.schedule();
    return native(() => work(this.#native));
  }

  /** As `ask`, for what brings nothing about. */
  read(work) {
    this.push();
    return native(() => work(this.#native));
  }

  /** Says what was not said yet. */
  push() {
    if (this.#said === 0) return;
    this.#tellAll(SAYS_ONLY);
    this.schedule();
  }

  /** Says and takes what there is soon: when the JavaScript that runs now has ended. */
  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (!this.#ticking) {
      this.#ticking = true;
      setImmediate(this.#tick);
    }
    this.#batches += 1;
    if (this.#batches <= BATCHES) RESOLVED.then(this.#flush);
  }

  /** Runs what can run without time going on, as far as it needs no turn of the event loop. */
  runReady() {
    // A handler is not called inside of another one.
    if (this.#acting) return;
    do {
      do this.#flush();
      while (this.#scheduled);
    } while (native(() => this.#native.runReady()));
  }

  /** The end of one turn of the event loop. */
  #tick = () => {
    this.#ticking = false;
    const late = this.#batches > BATCHES;
    this.#batches = 0;
    if (late && this.#scheduled) this.#flush();
    this.#holdWhileNeeded();
  };

  #flush = () => {
    this.#scheduled = false;
    const texts = this.#tellAll(0);
    const count = this.#outbox[0];
    if (this.#outbox[1] !== 0) this.schedule();
    let failure;
    this.#acting = true;
    this.#texts = texts;
    for (let at = 2; at < 2 + count * TOLD; at += TOLD) {
      this.#at = at + TOLD;
      try {
        this.#act(this.#outbox[at], at, texts);
      } catch (error) {
        // A defect of this package. What follows must not be lost with it.
        failure = failure || { error };
      }
    }
    this.#acting = false;
    this.#texts = undefined;
    if (failure !== undefined) throw failure.error;
  };

  /** Takes what there is: somebody else has something to tell. */
  take() {
    this.#flush();
    if (this.#ticking) return;
    this.#ticking = true;
    setImmediate(this.#tick);
  }

  /** Says all that was not said yet. */
  #tellAll(how) {
    this.#inbox[0] = this.#said + how;
    this.#said = 0;
    try {
      return this.#exchange();
    } catch (error) {
      throw translated(error);
    }
  }

  #say(what, first, second) {
    if (this.#said === PART) this.#tellAll(SAYS_ONLY);
    const at = 1 + this.#said * SAID;
    this.#inbox[at] = what;
    this.#inbox[at + 1] = first;
    this.#inbox[at + 2] = second;
    this.#said += 1;
    this.schedule();
  }

  /** Acts on the record at `at`. */
  #act(kind, at, texts) {
    const record = this.#outbox;
    const first = record[at + 1];
    switch (kind) {
      case CALL:
        return this.calls.begin(first, record[at + 2], record[at + 4], this.#slots[record[at + 3]]);
      case CALL_JSON: {
        const [run, token, attempt, text] = [record[at + 2], record[at + 3], record[at + 4], record[at + 5]];
        if (token >= 0) return this.calls.begin(first, run, attempt, this.#slots[token]);
        return this.calls.beginText(first, run, attempt, texts[text], texts[text + 1]);
      }
      case STOP:
        return this.calls.stop(first, record[at + 2], record[at + 3]);
      case OVER: {
        const text = record[at + 4];
        return this.calls.over(first, record[at + 2], record[at + 3], texts[text], texts[text + 1]);
      }
      case COMPLETED: {
        const slot = this.#settle(first);
        return slot.complete(record[at + 2] === 0 ? slot.payload : slot.returned);
      }
      case COMPLETED_JSON:
        return this.#settle(first).complete(JSON.parse(texts[record[at + 2]]));
      case FAILED: {
        const text = record[at + 2];
        return this.#settle(first).fail(texts[text], texts[text + 1], record[at + 3]);
      }
      case REPORT:
        return this.#reported(first, record[at + 2] === 0 ? undefined : texts[record[at + 3]]);
    }
  }

  /** A call has a result, which JavaScript keeps. */
  finish(call) {
    this.#say(FINISH, call.place, call.run);
  }

  /** The result of a call is its payload. */
  echo(call) {
    this.#say(ECHO, call.place, call.run);
  }

  // Slots.

  #kind(laneId, commandType) {
    let types = this.#kinds.get(laneId);
    const known = types === undefined ? undefined : types.get(commandType);
    if (known !== undefined) return known;
    const number = native(() => this.#native.kind(laneId, commandType));
    const kind = { bridge: this, laneId, commandType, number: number === null ? -1 : number };
    // The native half bounds how many have a number. Others are not remembered here either.
    if (kind.number === -1) return kind;
    if (types === undefined) this.#kinds.set(laneId, (types = new Map()));
    types.set(commandType, kind);
    return kind;
  }

  #open(kind, payload) {
    const token = this.#free.length > 0 ? this.#free.pop() : this.#slots.length;
    const slot = new Slot(kind, token, payload);
    this.#slots[token] = slot;
    return slot;
  }

  /** Forgets a command, whose token is free for another. */
  #close(slot) {
    this.#slots[slot.token] = undefined;
    this.#free.push(slot.token);
    slot.emitDestroy();
    if (this.#free.length > SPARE && this.#free.length === this.#slots.length) {
      // After a burst.
      this.#slots = [];
      this.#free = [];
    }
  }

  #settle(token) {
    const slot = this.#slots[token];
    this.#close(slot);
    if (slot.promise !== undefined) this.#awaited -= 1;
    return slot;
  }

  // The life of the process.

  /** Somebody waits for one more result. */
  awaits() {
    this.#awaited += 1;
    if (this.#started) this.hold();
  }

  /** Results may come from now on. */
  started() {
    this.#started = true;
    if (this.#isAwaited()) this.hold();
    this.#holdWhileActive();
  }

  /** Somebody waits for what only this can tell. */
  #isAwaited() {
    return this.#awaited > 0 || this.#reports.size > 0;
  }

  hold() {
    if (this.#held) return;
    this.#held = true;
    alive.hold(this);
    if (!this.#ticking) {
      this.#ticking = true;
      setImmediate(this.#tick);
    }
  }

  /** Looked at once per turn of the event loop: a program that waits for one command after the other changes nothing. */
  #holdWhileNeeded() {
    if (!this.#held || this.calls.running > 0 || (this.#started && this.#isAwaited())) return;
    if (this.keeps === kept.EVERYTHING && this.#isActive()) return;
    this.#held = false;
    alive.release(this);
  }

  /** With a storage some time passes between the end of one command and the start of the next. */
  #holdWhileActive = () => {
    if (this.keeps === kept.EVERYTHING && this.#started) this.hold();
  };

  /** Whether commands run, as the native half sees it; looks again soon if they do. */
  #isActive() {
    if (!this.#started || native(() => this.#native.active()) === 0) return false;
    if (!this.#looking) {
      this.#looking = true;
      setTimeout(() => {
        this.#looking = false;
        this.#holdWhileNeeded();
      }, LOOK_MS);
    }
    return true;
  }
}

/** A function of its own: one that shared a scope with the bridge would keep it from being collected. */
function waker(weak) {
  return () => {
    const bridge = weak.deref();
    if (bridge !== undefined) bridge.take();
  };
}

/** A command for the native half. */
function command(slot, options) {
  const { keeps } = slot.kind.bridge;
  slot.isJson = keeps === kept.EVERYTHING || (options !== undefined && options.unique !== undefined);
  if (keeps !== kept.NOTHING) return kept.command(slot, options);
  return { commandType: slot.kind.commandType, payload: slot.isJson ? json(slot.payload) : undefined, options };
}

module.exports = { Bridge };
