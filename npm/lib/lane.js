'use strict';

const { NativeLane } = require('../native.js');
const { alertsTo } = require('./alerts.js');
const { Bridge } = require('./bridge.js');
const check = require('./check.js');
const { LaneError, native, settled } = require('./error.js');
const { Events } = require('./events.js');
const { BareHandle, CommandHandle, answered } = require('./handle.js');
const { parse } = require('./json.js');
const kept = require('./kept.js');
const { DeadLetters } = require('./letters.js');
const settings = require('./settings.js');
const { Subscription } = require('./subscription.js');
const { threaded } = require('./workers.js');

/** How `withLanes` hands its lanes to the constructor, whose public form has the default lanes. */
const CONFIGS = Symbol('configs');

/** How `testing` hands over what a lane of a test does differently. */
const HOOKS = Symbol('hooks');

/** The longest time that the native half takes. */
const LONGEST_MS = 4294967295;

/** The native half of each `Lane`, and what runs its handlers, once it has one. */
const natives = new WeakMap();
const bridges = new WeakMap();

/** Lanes of tests that run what can run before a submission returns. */
const inlines = new WeakSet();

/** Lanes with a storage. */
const stored = new WeakSet();

function nativeOf(lane) {
  const found = natives.get(lane);
  if (found === undefined) throw new TypeError('not a Lane');
  return found;
}

/** Calls the native half of a lane, which learns first of what was submitted before. */
function ask(lane, work) {
  const own = nativeOf(lane);
  const bridge = bridges.get(lane);
  if (bridge !== undefined) {
    bridge.push();
    // It may settle commands, and the process may be about to end.
    bridge.schedule();
  }
  return native(() => work(own));
}

function isHandled(lane, commandType) {
  const bridge = bridges.get(lane);
  return bridge !== undefined && bridge.calls.handles(commandType);
}

/** What a lane does after each submission. */
function submitted(lane) {
  if (!inlines.has(lane)) return;
  const bridge = bridges.get(lane);
  if (bridge === undefined) native(() => nativeOf(lane).runReady());
  else bridge.runReady();
}

/** Submits a command whose arguments were checked, and whose payload and result are text. */
function enqueue(lane, laneId, command) {
  const handle = ask(lane, (own) => own.enqueue(laneId, command));
  if (stored.has(lane)) kept.untilAccepted(handle);
  submitted(lane);
  // It may get a bridge later.
  return new CommandHandle(handle, () => bridges.get(lane));
}

/** Submits such commands. */
function enqueueMany(lane, laneId, commands) {
  const answers = ask(lane, (own) => own.submitMany(laneId, commands));
  if (stored.has(lane)) for (const { handle } of answers) if (handle !== undefined) kept.untilAccepted(handle);
  submitted(lane);
  return answers.map((answer) => answered(answer, () => bridges.get(lane)));
}

function enqueueTexts(lane, laneId, commands) {
  return enqueueMany(lane, laneId, commands.map(({ handled: _, ...command }) => command));
}

/** Submits commands that handlers run. */
function enqueueHandled(lane, laneId, commands) {
  const bridge = bridges.get(lane);
  const isPlain = commands.every(({ options }) => options === undefined);
  const answers =
    (isPlain && bridge.enqueuePlain(laneId, commands)) ||
    bridge.enqueueMany(laneId, commands).map(({ answer, slot }) => answered(answer, bridge, slot));
  submitted(lane);
  return answers;
}

class Lane {
  /** References to subscriptions and iterators of events. */
  #subscriptions = new Set();
  #started = false;
  #shut = false;
  #ending = false;
  #hasManualClock;
  #isInline;
  #keeps;
  #deadLetters;

  constructor(options = {}) {
    const { alerts, ...totals } = settings.laneOptions('options', options);
    if (alerts !== undefined) totals.alerts = alerts.thresholds;
    const { clock, inline, log } = options[HOOKS] || {};
    const made = native(() => new NativeLane(options[CONFIGS], totals, clock, inline, log));
    natives.set(this, made);
    this.#hasManualClock = clock !== undefined;
    this.#isInline = inline === true;
    this.#keeps = kept.what(totals, log);
    if (this.#isInline) inlines.add(this);
    if (this.#keeps === kept.EVERYTHING) stored.add(this);
    if (alerts !== undefined) alertsTo(made, alerts.callback);
  }

  static withLanes(configs, options = {}) {
    const checked = settings.laneConfigs('configs', configs);
    settings.laneOptions('options', options);
    return new this({ ...options, [CONFIGS]: checked });
  }

  start() {
    ask(this, (own) => own.start());
    this.#hasStarted();
  }

  async startAsync() {
    await settled(ask(this, (own) => own.startAsync()));
    this.#hasStarted();
  }

  #hasStarted() {
    this.#resultsMayCome();
    if (this.#shut) this.#holdSubscriptions();
    if (this.#keeps !== kept.EVERYTHING) return;
    kept.endWithProcess(nativeOf(this));
    // What was restored begins soon.
    const bridge = bridges.get(this);
    if (bridge !== undefined) bridge.schedule();
  }

  /** What runs handlers, made when it is first needed. */
  #bridge() {
    let bridge = bridges.get(this);
    if (bridge === undefined) {
      bridge = new Bridge(nativeOf(this), { hasManualClock: this.#hasManualClock, keeps: this.#keeps });
      bridges.set(this, bridge);
      if (this.#started) bridge.started();
    }
    return bridge;
  }

  /** Before this, waiting for a result would be waiting for ever. */
  #resultsMayCome() {
    this.#started = true;
    const bridge = bridges.get(this);
    if (bridge !== undefined) bridge.started();
  }

  handle(commandType, handler) {
    check.string('commandType', commandType);
    const isModule = typeof handler === 'object' && handler !== null;
    const runs = isModule ? threaded('handler', handler) : check.callback('handler', handler);
    this.#bridge().calls.handle(commandType, runs);
  }

  removeHandler(commandType) {
    check.string('commandType', commandType);
    const bridge = bridges.get(this);
    return bridge !== undefined && bridge.calls.removeHandler(commandType);
  }

  use(middleware) {
    this.#bridge().calls.use(check.callback('middleware', middleware));
  }

  submit(laneId, commandType, payload, options) {
    check.string('laneId', laneId);
    const command = settings.command(commandType, payload, options);
    const result = ask(this, (own) => own.submit(laneId, command));
    submitted(this);
    return result;
  }

  submitAsync(laneId, commandType, payload, options) {
    // Not `async`, which would make a second promise of each.
    try {
      const checked = settings.submission(laneId, commandType, options);
      const bridge = this.#bridge();
      const result =
        checked === undefined
          ? bridge.submit(laneId, commandType, payload)
          : bridge.submitWith(laneId, commandType, payload, checked);
      if (this.#isInline) submitted(this);
      return result;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  enqueue(laneId, commandType, payload, options) {
    check.string('laneId', laneId);
    if (!isHandled(this, commandType)) {
      return enqueue(this, laneId, settings.command(commandType, payload, options));
    }
    const checked = settings.submission(laneId, commandType, options);
    const bridge = bridges.get(this);
    const { handle, slot } = bridge.enqueue(laneId, commandType, payload, checked);
    submitted(this);
    return new CommandHandle(handle, bridge, slot);
  }

  submitMany(laneId, commands) {
    check.string('laneId', laneId);
    const bridge = bridges.get(this);
    const isHandled = (commandType) => bridge !== undefined && bridge.calls.handles(commandType);
    const checked = settings.commands('commands', commands, isHandled);
    const answers = [];
    for (let from = 0, to; from < checked.length; from = to) {
      const { handled } = checked[from];
      to = from + 1;
      while (to < checked.length && checked[to].handled === handled) to += 1;
      const alike = to - from === checked.length ? checked : checked.slice(from, to);
      for (const answer of (handled ? enqueueHandled : enqueueTexts)(this, laneId, alike)) answers.push(answer);
    }
    return answers;
  }

  cancel(id) {
    check.string('id', id);
    return ask(this, (own) => own.cancel(id));
  }

  cancelLane(laneId) {
    check.string('laneId', laneId);
    return ask(this, (own) => own.cancelLane(laneId));
  }

  cancelKey(key) {
    check.string('key', key);
    return ask(this, (own) => own.cancelKey(key));
  }

  pauseLane(laneId) {
    check.string('laneId', laneId);
    ask(this, (own) => own.pauseLane(laneId, true));
  }

  resumeLane(laneId) {
    check.string('laneId', laneId);
    ask(this, (own) => own.pauseLane(laneId, false));
  }

  pauseKey(key) {
    check.string('key', key);
    ask(this, (own) => own.pauseKey(key, true));
  }

  resumeKey(key) {
    check.string('key', key);
    ask(this, (own) => own.pauseKey(key, false));
  }

  setLane(config) {
    const checked = settings.laneConfig('config', config);
    ask(this, (own) => own.setLane(checked));
  }

  removeLane(laneId) {
    check.string('laneId', laneId);
    ask(this, (own) => own.removeLane(laneId));
  }

  setMaxConcurrency(maxConcurrency) {
    if (maxConcurrency !== null) check.number('maxConcurrency', maxConcurrency);
    ask(this, (own) => own.setMaxConcurrency(maxConcurrency));
  }

  setLimiter(name, limiter) {
    check.string('name', name);
    const checked = settings.limiter('limiter', name, limiter);
    ask(this, (own) => own.setLimiter(checked));
  }

  async unclaimed() {
    return kept.unclaimed(await settled(ask(this, (own) => own.unclaimed())));
  }

  async find(id) {
    check.string('id', id);
    return this.#bare(await ask(this, (own) => own.find(id)));
  }

  async history(filter) {
    const checked = settings.historyFilter('filter', filter);
    return parse(await settled(ask(this, (own) => own.history(checked))));
  }

  get deadLetters() {
    if (this.#deadLetters === undefined) {
      const keepsNone = this.#keeps === kept.NOTHING;
      this.#deadLetters = new DeadLetters(
        (work) => {
          if (keepsNone) throw new LaneError('dead letters need the option storage or dlqSize', 'CONFIG_ERROR');
          return ask(this, work);
        },
        (answer) => this.#bare(answer),
      );
    }
    return this.#deadLetters;
  }

  /** What a promise resolves to where it could not be a handle: that would be awaited. */
  #bare({ handle, code, message }) {
    if (code !== undefined) throw new LaneError(message, code);
    return handle === undefined ? null : new BareHandle(handle, () => bridges.get(this), undefined, undefined, false);
  }

  explain(id) {
    check.string('id', id);
    return parse(ask(this, (own) => own.explain(id)));
  }

  snapshot() {
    return parse(ask(this, (own) => own.snapshot()));
  }

  subscribe(callback) {
    return this.#subscribe(callback, undefined);
  }

  subscribeFiltered(keys, callback) {
    return this.#subscribe(callback, check.strings('keys', keys));
  }

  events(options = {}) {
    const { keys } = settings.eventOptions('options', options);
    const events = new Events((wake) => ask(this, (own) => own.subscribe(wake, keys)));
    // Weakly: one that nobody reads any more must not be kept.
    this.#remember(new WeakRef(events), events);
    return events;
  }

  #subscribe(callback, keys) {
    check.callback('callback', callback);
    const subscription = new Subscription((wake) => ask(this, (own) => own.subscribe(wake, keys)), callback);
    this.#remember({ deref: () => subscription }, subscription);
    return subscription;
  }

  #remember(reference, subscription) {
    for (const known of this.#subscriptions) {
      const other = known.deref();
      if (other === undefined || other.closed) this.#subscriptions.delete(known);
    }
    this.#subscriptions.add(reference);
    if (this.#ending) subscription._hold();
  }

  stats() {
    return ask(this, (own) => own.stats());
  }

  metrics() {
    const text = ask(this, (own) => own.metrics());
    return text === null ? null : JSON.parse(text);
  }

  shutdown() {
    ask(this, (own) => own.shutdown());
    this.#shut = true;
    // What waits in a lane that nobody has started does not end before it is.
    if (!this.#started && this.stats().totalPending > 0) return;
    this.#resultsMayCome();
    this.#holdSubscriptions();
  }

  async shutdownWithin(timeoutMs) {
    check.number('timeoutMs', timeoutMs);
    const ended = ask(this, (own) => own.shutdownWithin(timeoutMs));
    this.#resultsMayCome();
    this.#holdSubscriptions();
    const report = parse(await settled(ended));
    return { ...report, isClean: report.stopped.length === 0 && report.pending.length === 0 };
  }

  /** From here on the end of the events is in sight: worth waiting for. */
  #holdSubscriptions() {
    this.#ending = true;
    for (const known of this.#subscriptions) {
      const subscription = known.deref();
      if (subscription !== undefined) subscription._hold();
    }
  }

  async close() {
    const closed = ask(this, (own) => own.close());
    this.#resultsMayCome();
    this.#holdSubscriptions();
    await settled(closed);
  }

  drain(timeoutMs) {
    check.number('timeoutMs', timeoutMs);
    ask(this, (own) => own.drain(timeoutMs));
  }

  async drainAsync(timeoutMs) {
    check.number('timeoutMs', timeoutMs);
    await settled(ask(this, (own) => own.drainAsync(timeoutMs)));
  }
}

/** `await using lane = ...`, where the language has it: what was accepted runs to its end. */
if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Lane.prototype, Symbol.asyncDispose, {
    async value() {
      // In a queue that was never started nothing runs to its end.
      if (!this.snapshot().started) await this.shutdownWithin(0);
      this.shutdown();
      await this.drainAsync(LONGEST_MS);
      await this.close();
    },
    configurable: true,
    writable: true,
  });
}

/** A lane for tests: `configs` are unchecked, `hooks` are checked. */
function steered(configs, options, hooks) {
  const checked = check.optional(settings.laneConfigs, 'configs', configs);
  return new Lane({ ...options, [CONFIGS]: checked, [HOOKS]: hooks });
}

module.exports = { Lane, ask, enqueue, enqueueMany, steered, submitted };
