/** The lanes themselves. */

import { LaneError } from './error.js';
import { EventCallback, IteratedEvent, Subscription } from './event.js';
import { BareHandle, CommandHandle, Explanation } from './handle.js';
import { Handler, Middleware, ThreadedHandler } from './handler.js';
import { BatchCommand, LaneConfig, LaneOptions, Limiter, SubmitOptions } from './settings.js';
import { MetricsSnapshot, QueueStats, ShutdownReport, Snapshot } from './state.js';
import { DeadLetters, HistoryEntry, HistoryFilter, UnclaimedCommand } from './storage.js';

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
