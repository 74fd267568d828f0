/** What a submitter holds of a command. */

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
