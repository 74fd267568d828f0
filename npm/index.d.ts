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
  /** An attempt ran longer than its lane allows, or a drain ran out of time. */
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
  /** The lane holds as many pending commands as it may. */
  | 'LANE_FULL'
  /** The command failed in a way that no retry can mend. */
  | 'UNRECOVERABLE'
  /** The storage refused or failed. */
  | 'STORAGE_ERROR'
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

/** Settings of one lane. */
export interface LaneConfig {
  /** The lane's name; not empty, and unique among the lanes. */
  laneId: string;
  /** How urgent the lane is: an integer from 0, the most urgent, to 255. */
  priority: number;
  /** Slots kept for the lane; an integer from 0 to `maxConcurrency`. Default 1. */
  minConcurrency?: number | undefined;
  /** How many commands run at once; an integer from 1 to 4294967295. Default 10. */
  maxConcurrency?: number | undefined;
  /** The longest time of one attempt in seconds, above 0 and up to 4294967295; fractions count. Default: no limit. */
  timeoutSecs?: number | undefined;
  /** Pending commands at which `queue.lane.pressure` is sent; an integer from 1 to 4294967295. Default: never. */
  pressureThreshold?: number | undefined;
  /** Default: no retries. */
  retryPolicy?: RetryPolicy | undefined;
}

/** Settings of all lanes together. */
export interface LaneOptions {
  /** How many dead letters are kept; an integer from 1 to 4294967295. Default: none are kept. */
  dlqSize?: number | undefined;
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
   * **Blocks** the JavaScript thread until the lane has run the command.
   *
   * @param payload JSON text; left out, it is `null`. Integers from -2^63 to 2^64 - 1 stay exact, larger ones are refused.
   * @throws LaneError `NOT_STARTED` before {@link start}, because the wait would never end.
   */
  submit(laneId: string, commandType: string, payload?: string | null): string;

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
   * Waits until nothing waits or runs. **Blocks** the JavaScript thread; {@link drainAsync} does not.
   *
   * @param timeoutMs milliseconds from 0 to 4294967295.
   * @throws LaneError `TIMEOUT` when the time is up; work goes on.
   */
  drain(timeoutMs: number): void;

  /** As {@link drain}, without blocking: rejects with `TIMEOUT` when the time is up. */
  drainAsync(timeoutMs: number): Promise<void>;
}
