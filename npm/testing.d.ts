import type { Lane } from './index.js';

/** One thing that an attempt of a scripted command does. */
export type Step =
  /** Waits this many milliseconds. */
  | { sleep_ms: number }
  /** Ends the attempt with `COMMAND_ERROR`. */
  | { fail: string }
  /** Ends the attempt with a panic in the native code, which becomes `PANICKED`. */
  | { panic: string }
  /** Ends the attempt with this result. */
  | { return: unknown };

/** The attempts of a command: the first, the second, and so on; the last one repeats. */
export type Script = readonly (readonly Step[])[];

/**
 * Submits a command that follows a script, and resolves to its result. Does not block.
 *
 * For tests of code that reacts to retries, timeouts and events. An attempt that ends without a result returns null.
 * The command is submitted before this function returns, so the order of calls is the order in the lane.
 */
export function submitScripted(lane: Lane, laneId: string, commandType: string, script: Script): Promise<any>;
