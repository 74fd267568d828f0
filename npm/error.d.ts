/** How calls and commands fail. */

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
