/** What lanes and commands are asked for. */

import { Lane } from './lane.js';
import { Retention } from './storage.js';

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
  /** How many dead letters are kept in memory; an integer from 1 to 4294967295. Default: none. A storage keeps its own. */
  dlqSize?: number | undefined;
  /**
   * How many commands of all lanes run at once; an integer from the sum of the lanes' `minConcurrency` to 4294967295.
   * Default: no limit.
   */
  maxConcurrency?: number | undefined;
  /** Limits by the names that lanes have in their `limiters`. Default: none. */
  limiters?: Readonly<Record<string, Limiter>> | undefined;
  /** Count and measure what happens, for `lane.metrics()`. Default false. */
  metrics?: boolean | undefined;
  /** Default: none are raised. */
  alerts?: Alerts | undefined;
  /**
   * A directory in which commands survive the process, made if it is not there. Payloads and results are JSON then: handlers get
   * what JSON makes of a payload. One process at a time uses a directory. Default: commands are in memory only.
   */
  storage?: string | undefined;
  /**
   * When a command counts as stored: `full`, once the disk has it; `relaxed`, once the operating system has it, which survives a
   * crash of the process but no power cut. Default `full`.
   */
  durability?: 'full' | 'relaxed' | undefined;
  /**
   * How often the process may end while a command runs; then it becomes a dead letter with the code `CRASHED`. An integer from 1 to
   * 4294967295. Default 3.
   */
  maxCrashes?: number | undefined;
  /** Which results are kept for {@link Lane.find}. Default: none. */
  results?: Retention | undefined;
  /** How much is kept for {@link Lane.history}. Default: nothing. */
  history?: Retention | undefined;
  /** How many dead letters the storage keeps, the newest ones; an integer from 0 to 4294967295. Default 10,000. */
  maxDeadLetters?: number | undefined;
}

/** When alerts are raised, and who is told. At least one threshold is needed; one that is left out is never reached. */
export interface Alerts {
  /** The commands of a lane that wait. An alert is raised when the depth rises to a threshold, not for each command. */
  queueDepth?: QueueDepthThresholds | undefined;
  /** How long a completed command has run. An alert is raised for each that is too slow. */
  latency?: LatencyThresholds | undefined;
  /**
   * Is called with each alert, in order, in this JavaScript thread, when its event loop turns. An exception in it is an uncaught
   * exception of the process. When more than 1024 alerts wait for a busy event loop, the oldest are lost.
   */
  callback: (alert: Alert) => void;
}

/** Thresholds in commands: integers from 1 to 4294967295. With a critical one below the warning, no warning is raised. */
export interface QueueDepthThresholds {
  warningThreshold?: number | undefined;
  criticalThreshold?: number | undefined;
}

/** Thresholds in milliseconds: above 0 and up to 4294967295. With a critical one below the warning, no warning is raised. */
export interface LatencyThresholds {
  warningThresholdMs?: number | undefined;
  criticalThresholdMs?: number | undefined;
}

/** One alert about one lane. */
export interface Alert {
  /** `info` is raised by nothing so far. */
  level: 'info' | 'warning' | 'critical';
  laneId: string;
  /** A sentence for people. */
  message: string;
  /** The depth in commands, or the latency in milliseconds. */
  currentValue: number;
  /** The threshold that was reached, in the same unit. */
  threshold: number;
  /** How many alerts right before this one were lost. */
  missed: number;
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

/** One command of `Lane.submitMany`. */
export interface BatchCommand<In = string | null | undefined> {
  commandType: string;
  /** Whatever the handler takes. Without a handler: JSON text; left out, it is `null`. */
  payload?: In;
  options?: SubmitOptions | null | undefined;
}
