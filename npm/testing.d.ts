import type { CommandHandle, Lane, LaneError, SubmitOptions } from './index.js';

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
