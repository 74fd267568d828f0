/**
 * Priority lanes for asynchronous work.
 *
 * A lane is a named queue with a priority, a concurrency limit and policies. The most urgent lane with work that may
 * run always goes next.
 *
 * @packageDocumentation
 */

import { BatchCommand, LaneConfig, LaneOptions, Limiter, SubmitOptions } from './settings.js';
import { DeadLetters, HistoryEntry, HistoryFilter, UnclaimedCommand } from './storage.js';

export * from './settings.js';
export * from './storage.js';

/** What a {@link LaneError} is about. The same words in all languages of a3s-lane. */
export type LaneErrorCode =
  /** No lane has this id. */
  | 'LANE_NOT_FOUND'
  /** A setting is wrong; the message names the lane, the field and what would be right. */
  | 'CONFIG_ERROR'
  /** An argument is out of its range; the message names it and the range. */
  | 'INVALID_ARGUMENT'
  /** The payload is not JSON text, or holds an integer of more than 64 bits. */
  | 'INVALID_PAYLOAD'
  /** The call would wait for a lane that was never started. */
  | 'NOT_STARTED'
  /** The call would block the thread that runs the handlers it waits for; the message names the call that does not. */
  | 'WOULD_BLOCK'
  /** `shutdown()` was called: nothing new is accepted. */
  | 'SHUTDOWN_IN_PROGRESS'
  /** An attempt ran longer than it may, or a drain ran out of time. */
  | 'TIMEOUT'
  /** The command itself failed. */
  | 'COMMAND_ERROR'
  /** The command panicked. */
  | 'PANICKED'
  /** The queue itself failed. */
  | 'QUEUE_ERROR'
  /** The command was cancelled before it ended. */
  | 'CANCELLED'
  /** The command's time to live ran out before it started. */
  | 'EXPIRED'
  /** An attempt gave no sign of life for longer than it may. */
  | 'STALLED'
  /** Another command holds this id or this unique key. */
  | 'DUPLICATE'
  /** The lane holds as many pending commands as it may. */
  | 'LANE_FULL'
  /** The command failed in a way that no retry can mend. */
  | 'UNRECOVERABLE'
  /** The storage refused or failed. */
  | 'STORAGE_ERROR'
  /** No command has this id. */
  | 'COMMAND_NOT_FOUND'
  /** No limiter has this name. */
  | 'LIMITER_NOT_FOUND'
  /** The process ended again and again while the command ran. */
  | 'CRASHED'
  | 'JOB_NOT_FOUND'
  | 'JOB_STATE_CONFLICT'
  | 'JOB_LEASE_CONFLICT'
  /** Anything else. */
  | 'OTHER';

/**
 * Every failure of a lane or a command. An argument of the wrong *type* is a `TypeError` instead.
 *
 * One class for CommonJS and ES modules: `instanceof` holds between them.
 */
export class LaneError extends Error {
  constructor(message: string, code: LaneErrorCode, options?: { cause?: unknown });
  /** An error that stops retries when a handler throws it: the command fails for good at this attempt. */
  static unrecoverable(message: string, options?: { cause?: unknown }): LaneError;
  readonly name: 'LaneError';
  /** What kind of failure. Compare this, not the message. */
  readonly code: LaneErrorCode;
  /** What the handler has thrown, when it was not a `LaneError`. */
  readonly cause?: unknown;
}

/** Where a command is. The last five are final. */
export type CommandStatus =
  /** It is ready and waits for its turn. */
  | 'pending'
  /** It waits for a time: its own delay, or that of a retry. */
  | 'delayed'
  | 'running'
  | 'completed'
  | 'failed'
  /** Its last attempt met a time limit. */
  | 'timed_out'
  | 'cancelled'
  /** Its time to live ran out before it started. */
  | 'expired';

/** One thing that a command waits for. Times are RFC 3339, UTC. */
export type WaitReason =
  /** The queue was not started, or starts nothing any more. */
  | { reason: 'not_started' }
  | { reason: 'lane_paused' }
  | { reason: 'key_paused'; key: string }
  /** It is not ready before a time. */
  | { reason: 'delayed'; until: string }
  /** Its time to live has run out; it is about to leave. */
  | { reason: 'expired' }
  /** So many commands of its lane (or key) go first. */
  | { reason: 'behind'; commands: number }
  /** All slots of its lane are taken, by the commands with these ids (16 at most). */
  | { reason: 'lane_full'; max: number; running: string[] }
  /** Its key holds as many slots as one key may. */
  | { reason: 'key_busy'; key: string; active: number }
  /** All slots of the total `maxConcurrency` are taken. */
  | { reason: 'total_reached'; total: number }
  /** The free slots of the total are kept for other lanes. */
  | { reason: 'reserved'; slots: number }
  /** A limit refuses its lane until then; `null` is for ever. */
  | { reason: 'rate_limited'; until: string | null };

/** Where a command is, and why it does not start. */
export interface Explanation {
  commandId: string;
  laneId: string;
  status: CommandStatus;
  /** Attempts so far, a running one included. */
  attempts: number;
  /** How long ago it was submitted, in milliseconds. */
  ageMs: number;
  /** What it waits for; all of them must pass. */
  reasons: WaitReason[];
}

/** One partial result of a command. */
export interface Chunk {
  /** The attempt that gave it, counted from 1. */
  attempt: number;
  /** Its number among all chunks of the command, counted from 0. */
  index: number;
  /** How many chunks right before this one came too early to be kept: the last 1024 and 1 MiB are. */
  missed: number;
  /** JSON text. */
  value: string;
}

/**
 * One submitted command.
 *
 * Waiting is not running: a handle, promise or iterator that is abandoned cancels nothing.
 *
 * A handle can be awaited, with the same effect as {@link result}. So it cannot be the result of an `async` function:
 * what arrives there is the command's result.
 *
 * `for await` over a handle gives its partial results as values; {@link chunks} says more about each.
 */
export interface CommandHandle<Out = string> extends BareHandle<Out>, PromiseLike<Out> {}

/** A {@link CommandHandle} as promises resolve to it: it cannot be awaited itself, but its {@link result} can. */
export interface BareHandle<Out = any> extends AsyncIterable<unknown> {
  readonly id: string;
  readonly laneId: string;
  readonly status: CommandStatus;
  /**
   * Resolves to what the handler returned, or rejects with the command's `LaneError`. May be called any number of times. The
   * result of a command that was submitted when its type had no handler is JSON text.
   */
  result(): Promise<Out>;
  /**
   * Resolves once the command is in its lane, and in the storage if the lane has one: from then on it survives the process.
   * Rejects when it is refused.
   */
  accepted(): Promise<void>;
  /**
   * Cancels the command: a waiting one settles at once with `CANCELLED`; a running one is asked to stop. False when its
   * outcome is already decided.
   */
  cancel(): boolean;
  /** Where it is and why it waits; `null` once it has settled, and as long as a full lane has no room for it. */
  explain(): Explanation | null;
  /**
   * How far it is: the newest value, then every newer one, until the command settles. JSON text where {@link result} is.
   */
  progress(): AsyncIterableIterator<Out extends string ? string : unknown>;
  /** Its partial results from the first one on, however late this is called, until the command settles. */
  chunks(): AsyncIterableIterator<Chunk>;
  /** The partial results alone, as values. */
  [Symbol.asyncIterator](): AsyncIterableIterator<unknown>;
}

/** Why a running command is asked to stop. */
export type StopReason =
  /** Its time limit has passed. */
  | 'deadline'
  /** It gave no sign of life for longer than it may. */
  | 'stall'
  | 'cancel'
  /** A more urgent lane needs its slot; it will run again. */
  | 'preempt'
  /** The queue ends. */
  | 'shutdown';

/** An `AbortSignal`: that of Node's types or of the DOM's where they are there, else what everybody has of it. */
export type StopSignal = typeof globalThis extends { AbortSignal: { prototype: infer Signal } }
  ? Signal
  : {
      readonly aborted: boolean;
      readonly reason: any;
      addEventListener(type: 'abort', listener: () => void): void;
      removeEventListener(type: 'abort', listener: () => void): void;
    };

/** One attempt of a command, as its handler sees it. After its end it tells nothing more. */
export interface CommandContext {
  /** The command's id. */
  readonly id: string;
  readonly laneId: string;
  /** The number of this attempt, from 1. A preempted attempt is not counted. */
  readonly attempt: number;
  /** When this attempt must have ended; `null` without a time limit. */
  readonly deadline: Date | null;
  /** How many milliseconds this attempt may still take; `null` without a time limit, 0 once it has passed. */
  readonly timeLeftMs: number | null;
  /** What was given with the option `metadata`. */
  readonly metadata: Readonly<Record<string, any>>;
  /**
   * Fires when this attempt is asked to stop. Its `reason` is a `LaneError` with the code `CANCELLED` (a cancel, a
   * preemption), `TIMEOUT`, `STALLED` or `SHUTDOWN_IN_PROGRESS`. Hand it to `fetch` and others that take one.
   *
   * A function cannot be stopped from outside. When it does not stop, its slot is free all the same, and its result is
   * ignored. Only after a cancel or a preemption, in a lane with `graceMs`, may it still end as it likes.
   */
  readonly signal: StopSignal;
  /** Why this attempt was asked to stop, if it was. True at once, also in a loop that never awaits. */
  readonly stopReason: StopReason | undefined;
  /** Tells how far the work is, as a JSON value: to {@link CommandHandle.progress} and as `queue.command.progress`. */
  progress(value: unknown): void;
  /** Hands out a part of the result, as a JSON value: to those who iterate over the handle. */
  emit(chunk: unknown): void;
  /** Shows that the work gets on: `progressTimeoutMs` counts from now. So do `progress` and `emit`. */
  heartbeat(): void;
  /** Corrects what limiters that count cost were charged, to an integer from 0 to 2^53 - 1. */
  settleCost(cost: number): void;
  /**
   * Submits a command on behalf of this one and resolves to its result. Until it has settled, this command lends it its
   * slots: a lane of one that submits to itself goes on.
   */
  submitChild<Out = any, In = unknown>(
    laneId: string,
    commandType: string,
    payload?: In,
    options?: SubmitOptions | null,
  ): Promise<Out>;
}

/** Runs the commands of one type. `this` is undefined. */
export type Handler<In = any, Out = any> = (this: void, payload: In, context: CommandContext) => Out | PromiseLike<Out>;

/**
 * Runs around handlers. `next()` runs what comes after it, in the end the handler, and resolves to its result;
 * `next(payload)` gives it another payload. Called twice, it rejects. What the middleware returns is the result.
 */
export type Middleware = (
  this: void,
  payload: any,
  context: CommandContext,
  next: (payload?: unknown) => Promise<any>,
) => unknown;

/** A handler in worker threads. */
export interface ThreadedHandler {
  /** What each thread loads: a path (a relative one begins at the working directory) or a `file:` URL. */
  module: string | { readonly href: string };
  /** The name of the function that the module exports. Default: its default export. */
  export?: string | undefined;
  /** How many threads, from 1 to 1024; each runs one call at a time. Default: as many as the machine has cores. */
  threads?: number | undefined;
  /**
   * Milliseconds that a call may go on after it was asked to stop; then its thread is ended, and another takes its place.
   * Default 1000.
   */
  graceMs?: number | undefined;
}

/** Something that happened in a lane, as {@link Lane.events} gives it. */
export interface IteratedEvent {
  /** Which kind of event, such as `queue.command.started`. */
  key: string;
  /** What the event says; `null` when it says nothing more. */
  payload: Readonly<Record<string, any>> | null;
  /** When it happened: RFC 3339, UTC. */
  timestamp: string;
}

/** The whole state. */
export interface Snapshot {
  /** When it was taken: RFC 3339, UTC. */
  takenAt: string;
  started: boolean;
  shuttingDown: boolean;
  /** The total `maxConcurrency`. */
  totalLimit: number | null;
  pending: number;
  active: number;
  pausedKeys: string[];
  /** Most urgent lane first. */
  lanes: LaneSnapshot[];
  /** Every command that has not settled, in the order of submission. */
  commands: CommandSnapshot[];
}

/** The state of one lane. */
export interface LaneSnapshot {
  id: string;
  /** As configured. */
  priority: number;
  /** With its boost. */
  effectivePriority: number;
  pending: number;
  active: number;
  min: number;
  max: number;
  paused: boolean;
}

/** The state of one command. */
export interface CommandSnapshot extends Explanation {
  key: string | null;
}

/** What {@link Lane.shutdownWithin} could not bring to its end. */
export interface ShutdownReport {
  /** Commands that ran and were stopped. */
  stopped: Leftover[];
  /** Commands that waited. */
  pending: Leftover[];
  /** Nothing was left. */
  isClean: boolean;
}

/** One command that did not come to its end. */
export interface Leftover {
  commandId: string;
  commandType: string;
  laneId: string;
  /** Attempts before; one that was stopped does not count. */
  attempts: number;
}

/** Something that happened in a lane. */
export interface LaneEvent {
  /** Which kind of event, such as `queue.command.started`. */
  key: string;
  /** JSON text; `"null"` when the event says nothing more. */
  payload: string;
  /** When it happened: RFC 3339, UTC. */
  timestamp: string;
}

/** The state of one lane. */
export interface LaneStatus {
  laneId: string;
  /** Commands that wait, delayed retries included. */
  pending: number;
  /** Commands that run. */
  active: number;
  minConcurrency: number;
  maxConcurrency: number;
}

/** The state of all lanes. */
export interface QueueStats {
  /** Commands that wait, in all lanes. */
  totalPending: number;
  /** Commands that run, in all lanes. */
  totalActive: number;
  /** Dead letters kept. */
  deadLetterCount: number;
  /** Most urgent lane first; lanes of equal priority in the order of their configuration. */
  lanes: LaneStatus[];
}

/** What was counted and measured so far. Names that were never written are absent. */
export interface MetricsSnapshot {
  /** By name: `lane.commands.completed` for all lanes together, and `lane.commands.completed.query` for one. */
  counters: Record<string, number>;
  /** By name; only of single lanes. */
  gauges: Record<string, number>;
  /** By name, as counters. */
  histograms: Record<string, HistogramStats>;
}

/** The figures of one histogram, in milliseconds. All but the percentiles are exact; those are within 1 %. */
export interface HistogramStats {
  count: number;
  sum: number;
  min: number;
  max: number;
  mean: number;
  percentiles: { p50: number; p90: number; p95: number; p99: number };
}

/** Is called for each event, in order. `error` is null unless events cannot be delivered any more. */
export type EventCallback = (error: null | LaneError, event: LaneEvent) => void;

/** Events of a lane on their way to a callback. */
export interface Subscription {
  /** Stops the calls of the callback, also for events that already happened. */
  close(): void;
  /** Whether no further call of the callback will come. */
  readonly closed: boolean;
}

/** A set of lanes that share one scheduler. */
export class Lane {
  /**
   * The six default lanes, most urgent first: system, control, query, session, skill, prompt.
   *
   * **Blocks** while the directory of the option `storage` is opened.
   */
  constructor(options?: LaneOptions);

  /**
   * The given lanes.
   *
   * @throws LaneError `CONFIG_ERROR` that names the lane and the field; `STORAGE_ERROR` when the directory of the option `storage`
   * cannot be used, such as one that another process uses.
   */
  static withLanes(configs: readonly LaneConfig[], options?: LaneOptions): Lane;

  /**
   * Begins to run what was submitted. A second call does nothing.
   *
   * With the option `storage`, what earlier processes left there enters its lanes first, in its old order. This **blocks** while it
   * is read; {@link startAsync} does not. Register handlers before.
   *
   * @throws LaneError `STORAGE_ERROR` when the storage cannot be read, or another lane uses it that has not ended. Nothing runs
   * then, and it can be called again.
   */
  start(): void;

  /** As {@link start}, without blocking: resolves when the lane has started. */
  startAsync(): Promise<void>;

  /**
   * Stored commands that cannot enter their lanes, oldest first, because they wait for a handler or a lane. They enter as soon as they
   * get what they miss. Reads the whole storage; empty without one.
   */
  unclaimed(): Promise<UnclaimedCommand[]>;

  /**
   * The command with this id, of this process or an earlier one, which waits or runs, or has settled and the option `results`
   * has its result kept; else `null`. Its result is a value, as its handler returned it, or without a handler its payload.
   *
   * Rejects with `CONFIG_ERROR` without the option `storage`.
   */
  find<Out = any>(id: string): Promise<BareHandle<Out> | null>;

  /** What has happened to stored commands, as far as the option `history` has it kept, oldest first. */
  history(filter?: HistoryFilter | null): Promise<HistoryEntry[]>;

  /** The commands that failed for good. */
  readonly deadLetters: DeadLetters;

  /**
   * Has a function run the commands of one type, in place of the one before. It is called in this JavaScript thread, as often
   * at once as the lanes let, with the payload as it was submitted: not a copy, except with a storage. What it returns, or its
   * promise resolves to, is the command's result.
   *
   * An error that it throws fails the attempt, and the lane's `retryPolicy` decides what follows. In the end the command
   * rejects with that error if it is a {@link LaneError}, else with a `COMMAND_ERROR` whose `cause` it is.
   * {@link LaneError.unrecoverable} stops retries.
   */
  handle<In = any, Out = any>(commandType: string, handler: Handler<In, Out>): void;

  /**
   * Has a function of a module run the commands of one type, in worker threads. Payloads, results and errors are copied, as
   * `postMessage` copies. The function's context has no `submitChild`. `AsyncLocalStorage` does not reach it.
   */
  handle(commandType: string, handler: ThreadedHandler): void;

  /**
   * Has `middleware` run around every handler, in each attempt that begins from now on. The first one is the outermost. What it
   * throws fails the attempt, as what a handler throws does.
   */
  use(middleware: Middleware): void;

  /** Takes the handler of a type away: its commands return their payload. False when there was none. */
  removeHandler(commandType: string): boolean;

  /**
   * Runs a command and resolves to its result: what its handler returned, or its payload when its type has no handler. Payload
   * and result are handed over as they are, not copied; with the option `storage`, as JSON. Also before {@link start}.
   *
   * Rejects with the command's {@link LaneError}, also when it is refused.
   */
  submitAsync<Out = any, In = unknown>(
    laneId: string,
    commandType: string,
    payload?: In,
    options?: SubmitOptions | null,
  ): Promise<Out>;

  /**
   * Runs a command whose type has no handler, and returns its payload as JSON text.
   *
   * **Blocks** the JavaScript thread until the lane has run the command; {@link submitAsync} and {@link enqueue} do not.
   *
   * @param payload JSON text; left out, it is `null`. Integers from -2^63 to 2^64 - 1 stay exact, larger ones are refused.
   * @throws LaneError `NOT_STARTED` before {@link start}, because the wait would never end; `WOULD_BLOCK` when this thread
   * itself must run a handler before the result can come.
   */
  submit(laneId: string, commandType: string, payload?: string | null, options?: SubmitOptions | null): string;

  /**
   * Submits a command, also before {@link start}. Never blocks: in a lane that is full and says `wait`, the command waits for
   * room, and its handle is here at once.
   *
   * With a handler for its type, payload and result are whatever the handler takes and returns. Without one at this moment,
   * both are JSON text.
   *
   * @throws LaneError when the command is refused, such as `LANE_FULL` or `DUPLICATE`.
   */
  enqueue<Out = string>(
    laneId: string,
    commandType: string,
    payload?: string | null,
    options?: SubmitOptions | null,
  ): CommandHandle<Out>;
  enqueue<Out = any, In = unknown>(
    laneId: string,
    commandType: string,
    payload: In,
    options?: SubmitOptions | null,
  ): CommandHandle<Out>;

  /**
   * Submits commands in their order, without a storage with no other command in between, each as {@link enqueue} does. Never blocks. One answer
   * per command: a refused one does not keep the others out.
   *
   * @throws TypeError when a command is not one; then none is submitted.
   */
  submitMany<Out = string>(laneId: string, commands: readonly BatchCommand[]): (CommandHandle<Out> | LaneError)[];
  submitMany<Out = any, In = unknown>(
    laneId: string,
    commands: readonly BatchCommand<In>[],
  ): (CommandHandle<Out> | LaneError)[];

  /** Cancels the command with this id; false when there is none to cancel. See {@link CommandHandle.cancel}. */
  cancel(id: string): boolean;

  /** Cancels every command of a lane; returns how many. */
  cancelLane(laneId: string): number;

  /** Cancels every command of a key, in all lanes; returns how many. */
  cancelKey(key: string): number;

  /** Starts no command of the lane until {@link resumeLane}. Running ones go on; so do delays and times to live. */
  pauseLane(laneId: string): void;

  resumeLane(laneId: string): void;

  /** Starts no command of the key, in all lanes, until {@link resumeKey}. */
  pauseKey(key: string): void;

  resumeKey(key: string): void;

  /**
   * Adds a lane, or changes all settings of a live one; its commands stay.
   *
   * @throws LaneError `CONFIG_ERROR` that names the lane and the field; nothing has changed.
   */
  setLane(config: LaneConfig): void;

  /**
   * Takes a lane out.
   *
   * @throws LaneError `QUEUE_ERROR` while it has commands.
   */
  removeLane(laneId: string): void;

  /** Changes how many commands of all lanes run at once; `null` is no limit. Running ones go on. */
  setMaxConcurrency(maxConcurrency: number | null): void;

  /**
   * Changes a limiter; what was used up counts.
   *
   * @throws LaneError `LIMITER_NOT_FOUND`.
   */
  setLimiter(name: string, limiter: Limiter): void;

  /** Where the command with this id is and why it waits; `null` when there is none, or it has settled. */
  explain(id: string): Explanation | null;

  /** The whole state. Costs a walk through all commands. */
  snapshot(): Snapshot;

  /**
   * Calls `callback` for each event from now on, up to and including `queue.shutdown.complete`.
   *
   * A subscription does not keep the process alive, except between {@link shutdown} and the last event.
   */
  subscribe(callback: EventCallback): Subscription;

  /** As {@link subscribe}, for events with one of these keys. */
  subscribeFiltered(keys: readonly string[], callback: EventCallback): Subscription;

  /**
   * Events from now on for `for await`, up to and including `queue.shutdown.complete`; with `keys`, only those.
   *
   * They wait until they are asked for. When more than 32,768 wait, the oldest are lost, and `queue.events.lagged` says how
   * many (`payload.missed`). A slow reader slows nothing. An iteration does not keep the process alive, except between
   * {@link shutdown} and the last event.
   */
  events(options?: { keys?: readonly string[] | undefined }): AsyncIterableIterator<IteratedEvent>;

  /** What waits and what runs. */
  stats(): QueueStats;

  /** What was counted and measured so far; `null` without the option `metrics`. */
  metrics(): MetricsSnapshot | null;

  /** Accepts nothing new. What was accepted still runs. */
  shutdown(): void;

  /**
   * Ends the queue: nothing new is accepted and nothing more starts. What runs may end within the time and is stopped
   * then. Resolves to what was left; all of that has settled with an error.
   *
   * @param timeoutMs milliseconds from 0 to 4294967295.
   */
  shutdownWithin(timeoutMs: number): Promise<ShutdownReport>;

  /**
   * Waits until nothing waits or runs. **Blocks** the JavaScript thread; {@link drainAsync} does not.
   *
   * @param timeoutMs milliseconds from 0 to 4294967295.
   * @throws LaneError `TIMEOUT` when the time is up; work goes on. `WOULD_BLOCK` when this thread itself must run a handler
   * before that.
   */
  drain(timeoutMs: number): void;

  /** As {@link drain}, without blocking: rejects with `TIMEOUT` when the time is up. */
  drainAsync(timeoutMs: number): Promise<void>;

  /**
   * Ends the queue at once, as {@link shutdownWithin} with 0 does, and the use of the `storage`: another process can open the directory when
   * this resolves. What has to ask the storage then fails with `STORAGE_ERROR`. May be called again.
   */
  close(): Promise<void>;

  /** `await using lane = ...`: {@link shutdown}, then waits until what was accepted has run, and {@link close}. */
  [Symbol.asyncDispose](): Promise<void>;
}

declare global {
  interface SymbolConstructor {
    /** Older libraries do not declare it, and older versions of Node do not have it. */
    readonly asyncDispose: unique symbol;
  }
}
