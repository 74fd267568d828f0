/** What is kept of commands: in a storage, and as dead letters. */

import { LaneError } from './error.js';
import { BareHandle } from './handle.js';
import { Jitter, RetryPolicy } from './settings.js';

/** How much is kept of what is over. */
export interface Retention {
  /** How old it may be, in milliseconds; an integer from 1 to 2^53 - 1. Default: seven days. */
  maxAgeMs?: number | undefined;
  /** How many are kept, the newest ones; an integer from 0 to 4294967295. Default 100,000. */
  maxCount?: number | undefined;
}

/** What the submission of a command asked for. Times are RFC 3339, UTC. */
export interface StoredOptions {
  priority: number;
  key?: string;
  /** When it leaves unrun, if it has not started. */
  expiresAt?: string;
  timeoutMs?: number;
  noTimeout?: true;
  progressTimeoutMs?: number;
  retryPolicy?: Required<RetryPolicy>;
  jitter?: Jitter;
  cost: number;
  preemptible: boolean;
  metadata?: Record<string, any>;
  unique?: {
    key: string;
    onConflict: 'reject' | 'join' | 'replace';
    /** Until when the name is held at least. */
    until?: string;
  };
}

/** One attempt that failed. Times are RFC 3339, UTC. */
export interface FailedAttempt {
  /** Its number, from 1. */
  attempt: number;
  /** The text of its error. */
  error: string;
  /** The `code` of its error. */
  code: string;
  /** The `stack` of what the handler has thrown, at most 16,384 characters. */
  traceback?: string;
  startedAt?: string;
  failedAt: string;
}

/** A command that failed for good. */
export interface DeadLetter {
  commandId: string;
  commandType: string;
  laneId: string;
  /** Any JSON value, null included; left out when none was kept. */
  payload?: any;
  options: StoredOptions;
  /** The text of its last error. */
  error: string;
  /** The `code` of its last error. */
  code: string;
  /** The `stack` of what the handler has thrown last. */
  traceback?: string;
  /** How often it ran. */
  attempts: number;
  /** Its failed attempts, oldest first; of very many the newest 100. */
  failures: FailedAttempt[];
  /** RFC 3339, UTC. */
  failedAt: string;
}

/** Which dead letters are meant: those that fit all that is given. */
export interface DeadLetterFilter {
  /** Only of these commands; of none when it is empty. */
  ids?: readonly string[] | undefined;
  laneId?: string | undefined;
  commandType?: string | undefined;
  /** Only with an error of this code. */
  code?: string | undefined;
  /** Only those that failed at this time or later. */
  since?: Date | undefined;
  /** Only those that failed before this time. */
  until?: Date | undefined;
  /** At most so many, the oldest ones. */
  limit?: number | undefined;
}

/** What became of one letter of {@link DeadLetters.retryAll}: a handle, or why it still is a dead letter. */
export type Retried = { id: string; handle: BareHandle; error?: undefined } | { id: string; handle?: undefined; error: LaneError };

/**
 * The dead letters of a lane: those in its storage or, without one, the last `dlqSize` in memory. Oldest first.
 *
 * All methods reject with `CONFIG_ERROR` when the lane has neither, and with `STORAGE_ERROR` when the storage fails.
 */
export interface DeadLetters {
  list(filter?: DeadLetterFilter | null): Promise<DeadLetter[]>;
  /**
   * Puts the command of a letter back into its lane, with its old id and options, from its first attempt on and without the
   * delay and the time to live that it had. With `payload`, that is its payload. The letter is gone when the command is in.
   *
   * After a rejection the letter is still there: `COMMAND_NOT_FOUND` without such a letter; `DUPLICATE` when another call has it in
   * hand, or another command has its id or unique key; `CONFIG_ERROR` when it has no payload, or its type no handler; and those of a
   * submission.
   */
  retry<Out = any>(commandId: string, options?: { payload?: unknown } | null): Promise<BareHandle<Out>>;
  /** Retries every letter that is meant; one that cannot be retried keeps no other back. */
  retryAll(filter?: DeadLetterFilter | null): Promise<Retried[]>;
  /** Throws letters away; resolves to how many. **Without a filter all of them.** */
  discard(filter?: DeadLetterFilter | null): Promise<number>;
  /** Letters as text, a JSON object a line. They stay. */
  export(filter?: DeadLetterFilter | null): Promise<string>;
  /** Keeps letters that {@link export} has written; resolves to how many are new. Rejects with `CONFIG_ERROR` and the line. */
  import(lines: string): Promise<number>;
}

/** A stored command that does not enter its lane. */
export interface UnclaimedCommand {
  commandId: string;
  commandType: string;
  laneId: string;
  /** Attempts that have ended. */
  attempts: number;
  /** Those among them that ended with their process. */
  crashes: number;
  /** RFC 3339, UTC. */
  createdAt: string;
  /** Its type has no handler, its lane does not exist, or what is stored of it cannot be used. */
  reason: 'no_handler' | 'no_lane' | 'unreadable';
  /** Why it is `unreadable`. */
  message: string | null;
}

/** Which entries of the history are meant: those that fit all that is given. */
export interface HistoryFilter {
  commandId?: string | undefined;
  laneId?: string | undefined;
  /** Only what happened at this time or later. */
  since?: Date | undefined;
  /** Only entries with a higher number: the last one of the page before. */
  after?: number | undefined;
  /** At most so many, the oldest ones. */
  limit?: number | undefined;
}

/** Something that happened to a stored command. */
export interface HistoryEntry {
  /** Its place in the history, from 1. */
  number: number;
  /** RFC 3339, UTC. */
  at: string;
  /**
   * `retried`: an attempt failed, and it runs again; `requeued`: an attempt was stopped and does not count; `crashed`: its process
   * ended during an attempt; `failed`: also timed out, cancelled or expired, the code says which; `revived`: it was a dead letter.
   */
  event: 'submitted' | 'retried' | 'requeued' | 'crashed' | 'completed' | 'failed' | 'revived';
  laneId: string;
  commandId: string;
  commandType: string;
  /** The attempt that ended, where the event is about one. */
  attempt: number | null;
  code: string | null;
  error: string | null;
}

/** The pending commands of one lane. */
export interface LaneInspection {
  laneId: string;
  pending: number;
  /** When the oldest of them was submitted. RFC 3339, UTC. */
  oldestCreatedAt: string;
}

/** What the directory of a `storage` holds: the same as `a3s-lane inspect --json` prints. */
export interface Inspection {
  directory: string;
  /** The format of its file. */
  format: number;
  /** The lanes of pending commands, by name. */
  lanes: LaneInspection[];
  /** Pending commands, in all lanes. */
  pending: number;
  /** Those of them that run now, or ran when their process ended. */
  running: number;
  deadLetters: number;
  /** Results that are kept. */
  results: number;
  /** Entries of the history that are kept. */
  history: number;
  /** The size of the database. */
  fileBytes: number;
  /** The size of its write-ahead log. */
  logBytes: number;
  /** What SQLite's integrity check finds wrong, and what is wrong with the log; empty for a storage that is whole. */
  problems: string[];
}

/**
 * What the directory of a `storage` holds, also while another process uses it. Reads all of it, and changes nothing.
 *
 * Rejects with `STORAGE_ERROR` where there is no storage, or one that cannot be read. What is damaged but can be read in part is told by
 * `problems`.
 */
export function inspect(directory: string): Promise<Inspection>;
