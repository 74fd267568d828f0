/**
 * Priority lanes for asynchronous work.
 *
 * A lane is a named queue with a priority, a concurrency limit and policies. The most urgent lane with work that may
 * run always goes next.
 *
 * @packageDocumentation
 */

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
  constructor(message: string, code: LaneErrorCode);
  readonly name: 'LaneError';
  /** What kind of failure. Compare this, not the message. */
  readonly code: LaneErrorCode;
}

/** How often a failed command runs again. */
export interface RetryPolicy {
  /** Retries after the first attempt; an integer from 0 to 4294967295. */
  maxRetries: number;
  /** Milliseconds before the first retry, from 0 to 4294967295. Default 100. */
  initialDelayMs?: number | undefined;
  /** The longest wait in milliseconds, from `initialDelayMs` to 4294967295. Default 30000. */
  maxDelayMs?: number | undefined;
  /** Each wait is this many times the one before it; a finite number of at least 0. Default 2. */
  multiplier?: number | undefined;
}

/**
 * How much of a retry's delay is left to chance: `none`; `full`, between nothing and the whole delay; `equal`, between
 * half of it and the whole.
 */
export type Jitter = 'none' | 'full' | 'equal';

/**
 * What happens to a command whose lane holds `maxPending` commands: `reject`, it is refused with `LANE_FULL`; `wait`, it
 * waits for room; `drop_oldest`, the oldest command that is ready leaves, cancelled, with `LANE_FULL`.
 */
export type Overflow = 'reject' | 'wait' | 'drop_oldest';

/** How many commands may start in a span of time. */
export interface RateLimit {
  /** Starts per window; an integer from 1 to 2^53 - 1. */
  maxCommands: number;
  /** The length of the window in milliseconds, above 0 and up to 4294967295. */
  windowMs: number;
}

/** How commands become more urgent while they wait. */
export interface PriorityBoost {
  /** Milliseconds of waiting after which a command has priority 0; above 0 and up to 4294967295. */
  deadlineMs: number;
  /**
   * Pairs of the time left until the deadline in milliseconds, and the integer from 0 to 255 that is taken off the lane's
   * priority from then on. Of several that match, the one with the least time left counts. Default: none.
   */
  steps?: readonly (readonly [leftMs: number, boost: number])[] | undefined;
}

/** A limit that lanes share by its name. */
export interface Limiter {
  /** Cost (or commands, with `countingCommands`) per window; an integer from 1 to 2^53 - 1. */
  maxCommands: number;
  /** The length of the window in milliseconds, above 0 and up to 4294967295. */
  windowMs: number;
  /**
   * `token_bucket`: a burst, then a steady rate. `sliding_window`: at most `maxCommands` in any window. Default
   * `token_bucket`.
   */
  algorithm?: 'token_bucket' | 'sliding_window' | undefined;
  /** The most that a token bucket grants at once; an integer from 1 to 2^53 - 1. Default: `maxCommands`. */
  burst?: number | undefined;
  /** Each start is charged 1, whatever its command's `cost`. Default false. */
  countingCommands?: boolean | undefined;
  /** What lanes that are not urgent must leave; an integer below the burst, or below `maxCommands`. Default: nothing. */
  reserve?: number | undefined;
  /** The highest lane priority that may use the reserve; an integer from 0 to 255. Needs a `reserve`. Default 0. */
  urgentUpTo?: number | undefined;
}

/** Settings of one lane. */
export interface LaneConfig {
  /** The lane's name; not empty, and unique among the lanes. */
  laneId: string;
  /** How urgent the lane is: an integer from 0, the most urgent, to 255. */
  priority: number;
  /**
   * Slots kept for the lane when all lanes together have a `maxConcurrency`; an integer from 0 to the lane's
   * `maxConcurrency`. Default 1.
   */
  minConcurrency?: number | undefined;
  /** How many commands run at once; an integer from 1 to 4294967295. Default 10. */
  maxConcurrency?: number | undefined;
  /** The longest time of one attempt in seconds, above 0 and up to 4294967295; fractions count. Default: no limit. */
  timeoutSecs?: number | undefined;
  /** Pending commands at which `queue.lane.pressure` is sent; an integer from 1 to 4294967295. Default: never. */
  pressureThreshold?: number | undefined;
  /** Default: no retries. */
  retryPolicy?: RetryPolicy | undefined;
  /** The most pending commands; an integer from 1 to 4294967295. Default: no bound. */
  maxPending?: number | undefined;
  /** What happens beyond `maxPending`. Default `reject`. */
  overflow?: Overflow | undefined;
  /**
   * Running commands may be stopped and queued again when a more urgent lane lacks only a slot of the total
   * `maxConcurrency`. Default false.
   */
  preemptible?: boolean | undefined;
  /**
   * How long a command may go on after it was asked to stop, because it was cancelled or preempted, in milliseconds from
   * 0 to 4294967295. Default 0.
   */
  graceMs?: number | undefined;
  /** The longest time of an attempt without a sign of life, in milliseconds above 0. Default: no limit. */
  progressTimeoutMs?: number | undefined;
  /** How many commands of one `key` run at once; an integer from 1 to 4294967295. Default: no limit. */
  maxConcurrencyPerKey?: number | undefined;
  /** The shares of keys: an integer from 1 to 4294967295 each. Default: 1. */
  keyWeights?: Readonly<Record<string, number>> | undefined;
  /** Default `none`. */
  retryJitter?: Jitter | undefined;
  /** How many commands may start in a span of time. Default: no limit. */
  rateLimit?: RateLimit | undefined;
  /** The most starts at once under `rateLimit`; an integer from 1 to 2^53 - 1. Default: its `maxCommands`. */
  burst?: number | undefined;
  /** Default: none. */
  priorityBoost?: PriorityBoost | undefined;
  /** Up to 4 names of limiters, all of which must grant a start. Default: none. */
  limiters?: readonly string[] | undefined;
}

/** Settings of all lanes together. */
export interface LaneOptions {
  /** How many dead letters are kept; an integer from 1 to 4294967295. Default: none are kept. */
  dlqSize?: number | undefined;
  /**
   * How many commands of all lanes run at once; an integer from the sum of the lanes' `minConcurrency` to 4294967295.
   * Default: no limit.
   */
  maxConcurrency?: number | undefined;
  /** Limits by the names that lanes have in their `limiters`. Default: none. */
  limiters?: Readonly<Record<string, Limiter>> | undefined;
}

/** A name of which there may be one command at a time. */
export interface Unique {
  /** The name; not empty. */
  key: string;
  /** Milliseconds for which the name is held at least, counted from the submission. Default: until the command settles. */
  windowMs?: number | undefined;
  /**
   * What happens to this command when another one holds the name: `reject`, it is refused with `DUPLICATE`; `join`, its
   * handle is that of the other; `replace`, the other one is cancelled. Default `reject`.
   */
  onConflict?: 'reject' | 'join' | 'replace' | undefined;
}

/** Settings of one command. What is left out follows its lane. */
export interface SubmitOptions {
  /** The command's id; not empty. Default: a new UUID. Fails with `DUPLICATE` while another command has it. */
  id?: string | undefined;
  /** Its place inside the lane: lower goes first; an integer from -2147483648 to 2147483647. Default 0. */
  priority?: number | undefined;
  /** The shortest wait before the start in milliseconds, from 0 to 4294967295. Not together with `runAt`. */
  delayMs?: number | undefined;
  /** The earliest start. */
  runAt?: Date | undefined;
  /** The longest wait for the first start in milliseconds, above 0; then the command fails with `EXPIRED`. */
  ttlMs?: number | undefined;
  /** The longest time of one attempt in milliseconds, above 0, instead of the lane's. */
  timeoutMs?: number | undefined;
  /** No time limit, whatever the lane's. Not together with `timeoutMs`. Default false. */
  noTimeout?: boolean | undefined;
  /** The longest time of an attempt without a sign of life in milliseconds, above 0, instead of the lane's. */
  progressTimeoutMs?: number | undefined;
  /** Instead of the lane's. */
  retryPolicy?: RetryPolicy | undefined;
  /** Instead of the lane's `retryJitter`. */
  jitter?: Jitter | undefined;
  /** Whose command it is, such as a tenant or a session; not empty. The keys of a lane take turns. */
  key?: string | undefined;
  /** At most one command of this name. */
  unique?: string | Unique | undefined;
  /** What limiters that count cost charge; an integer from 0 to 2^53 - 1. Default 1. */
  cost?: number | undefined;
  /** JSON values that go with the command. */
  metadata?: Readonly<Record<string, unknown>> | undefined;
  /** False: never stopped for a more urgent lane. Default true. */
  preemptible?: boolean | undefined;
}

/** One command of {@link Lane.submitMany}. */
export interface BatchCommand {
  commandType: string;
  /** JSON text; left out, it is `null`. */
  payload?: string | null | undefined;
  options?: SubmitOptions | null | undefined;
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
 */
export interface CommandHandle extends PromiseLike<string> {
  readonly id: string;
  readonly laneId: string;
  readonly status: CommandStatus;
  /**
   * Resolves to the result as JSON text, or rejects with the command's `LaneError`. May be called any number of times.
   */
  result(): Promise<string>;
  /**
   * Cancels the command: a waiting one settles at once with `CANCELLED`; a running one is asked to stop. False when its
   * outcome is already decided.
   */
  cancel(): boolean;
  /** Where it is and why it waits; `null` once it has settled, and as long as a full lane has no room for it. */
  explain(): Explanation | null;
  /** How far it is, as JSON text: the newest value, then every newer one, until the command settles. */
  progress(): AsyncIterableIterator<string>;
  /** Its partial results from the first one on, however late this is called, until the command settles. */
  chunks(): AsyncIterableIterator<Chunk>;
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
  /** The six default lanes, most urgent first: system, control, query, session, skill, prompt. */
  constructor(options?: LaneOptions);

  /**
   * The given lanes.
   *
   * @throws LaneError `CONFIG_ERROR` that names the lane and the field.
   */
  static withLanes(configs: readonly LaneConfig[], options?: LaneOptions): Lane;

  /** Begins to run what was submitted. A second call does nothing. */
  start(): void;

  /**
   * Runs a command that returns its payload, and returns its result as JSON text.
   *
   * **Blocks** the JavaScript thread until the lane has run the command; {@link enqueue} does not.
   *
   * @param payload JSON text; left out, it is `null`. Integers from -2^63 to 2^64 - 1 stay exact, larger ones are refused.
   * @throws LaneError `NOT_STARTED` before {@link start}, because the wait would never end.
   */
  submit(laneId: string, commandType: string, payload?: string | null, options?: SubmitOptions | null): string;

  /**
   * Submits a command that returns its payload, also before {@link start}. Never blocks: in a lane that is full and says
   * `wait`, the command waits for room, and its handle is here at once.
   *
   * @throws LaneError when the command is refused, such as `LANE_FULL` or `DUPLICATE`.
   */
  enqueue(
    laneId: string,
    commandType: string,
    payload?: string | null,
    options?: SubmitOptions | null,
  ): CommandHandle;

  /**
   * Submits commands in their order, with no other command in between. Never blocks. One answer per command: a refused
   * one does not keep the others out.
   *
   * @throws TypeError when a command is not one; then none is submitted.
   */
  submitMany(laneId: string, commands: readonly BatchCommand[]): (CommandHandle | LaneError)[];

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

  /** What waits and what runs. */
  stats(): QueueStats;

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
   * @throws LaneError `TIMEOUT` when the time is up; work goes on.
   */
  drain(timeoutMs: number): void;

  /** As {@link drain}, without blocking: rejects with `TIMEOUT` when the time is up. */
  drainAsync(timeoutMs: number): Promise<void>;
}
