import type { CommandHandle, Lane, LaneConfig, LaneError, LaneOptions, SubmitOptions } from './index.js';

/** One thing that an attempt of a scripted command does. */
export type Step =
  /** Waits this many milliseconds. */
  | { sleep_ms: number }
  /** Ends the attempt with `COMMAND_ERROR`. */
  | { fail: string }
  /** Ends the attempt with `UNRECOVERABLE`: it is not retried. */
  | { unrecoverable: string }
  /** Ends the attempt with a panic in the native code, which becomes `PANICKED`. */
  | { panic: string }
  /** Ends the attempt with this result. */
  | { return: unknown }
  /** Ends the attempt with the `metadata` of the command's options. */
  | { return_metadata: Record<string, never> }
  /** Reports how far it is. */
  | { progress: unknown }
  /** Gives a partial result. */
  | { emit: unknown }
  /** Gives a sign of life. */
  | { heartbeat: Record<string, never> }
  /** Says what the command really costs. */
  | { settle_cost: number }
  /** Waits until the attempt is asked to stop, then goes on with the next step. */
  | { await_cancel: Record<string, never> }
  /** Submits a child that follows a script of its own and waits for it; its failure is one of the attempt. */
  | { child: { lane_id: string; command_type: string; script: Script } };

/** The attempts of a command: the first, the second, and so on; the last one repeats. */
export type Script = readonly (readonly Step[])[];

/**
 * Submits a command that follows a script, and resolves to its result. Does not block.
 *
 * For tests of code that reacts to retries, timeouts and events. An attempt that ends without a result returns null.
 * The command is submitted before this function returns, so the order of calls is the order in the lane.
 */
export function submitScripted(lane: Lane, laneId: string, commandType: string, script: Script): Promise<any>;

/** As {@link Lane.enqueue}, for a command that follows a script. */
export function enqueueScripted(
  lane: Lane,
  laneId: string,
  commandType: string,
  script: Script,
  options?: SubmitOptions | null,
): CommandHandle;

/** One command of {@link submitManyScripted}. */
export interface ScriptedBatchCommand {
  commandType: string;
  script: Script;
  options?: SubmitOptions | null | undefined;
}

/** As {@link Lane.submitMany}, for commands that follow scripts. */
export function submitManyScripted(
  lane: Lane,
  laneId: string,
  commands: readonly ScriptedBatchCommand[],
): (CommandHandle | LaneError)[];

/**
 * The time of a lane, for tests: it stands still until `advance` moves it.
 *
 * Delays, time limits, times to live, rate limits and boosts of a lane from {@link createLane} go by it. The bodies of
 * commands do not: one that sleeps sleeps in real time. One clock may serve several lanes.
 */
export class ManualClock {
  /** A clock at zero. */
  constructor();
  /** Moves the time on by so many milliseconds, 0 to 1e13. What becomes due runs soon after; {@link drainNow} waits for that. */
  advance(ms: number): void;
  /** The milliseconds since the clock was made, as moved by hand. */
  readonly elapsedMs: number;
}

/** One accepted command. */
export interface Submitted {
  laneId: string;
  commandType: string;
  /** Its payload as a value, or its script; null without one. */
  payload: any;
}

/**
 * Remembers what a lane accepts, so that a test can ask whether code under test has submitted something.
 *
 * It belongs to a lane from {@link createLane}, and grows with each command: for tests only.
 */
export class SubmissionLog {
  /** An empty log. */
  constructor();
  /** Everything so far, in the order of acceptance. */
  submitted(): Submitted[];
  /** The first command of this type that was submitted to this lane. Throws an `AssertionError` when there is none. */
  assertSubmitted(laneId: string, commandType: string): Submitted;
  /** Throws an `AssertionError` when a command of this type was submitted to this lane. */
  assertNotSubmitted(laneId: string, commandType: string): void;
}

/** Settings of {@link createLane}. */
export interface TestLaneOptions extends LaneOptions {
  /** The lanes; without them the six default lanes. */
  configs?: readonly LaneConfig[] | undefined;
  /** What the lane goes by instead of the time of day. */
  clock?: ManualClock | undefined;
  /**
   * Once the lane has started, a submission returns when everything has run that can without time going on. So a handler
   * that is a plain function has ended by then; one that awaits has begun, and goes on when the event loop turns. What a
   * handler submits runs when that handler has returned.
   */
  inline?: boolean | undefined;
  /** Remembers what the lane accepts. */
  submissionLog?: SubmissionLog | undefined;
}

/** A lane that tests can steer. */
export function createLane(options?: TestLaneOptions): Lane;

/**
 * Runs everything that waits, without waiting for its time: where only delays, back-offs or rate limits are left, a
 * {@link ManualClock} is moved on to the next one. Resolves to how many commands are left, which nothing but a resume or
 * another limit can start. With the real clock it waits for delays.
 */
export function drainNow(lane: Lane): Promise<number>;
