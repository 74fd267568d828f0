/** What runs commands. */

import { CommandHandle } from './handle.js';
import { SubmitOptions } from './settings.js';

/** Why a running command is asked to stop. */
export type StopReason =
  /** Its time limit has passed. */
  | 'deadline'
  /** It gave no sign of life for longer than it may. */
  | 'stall'
  | 'cancel'
  /** A more urgent lane needs its slot; it will run again. */
  | 'preempt'
  /** The queue ends. */
  | 'shutdown';

/** An `AbortSignal`: that of Node's types or of the DOM's where they are there, else what everybody has of it. */
export type StopSignal = typeof globalThis extends { AbortSignal: { prototype: infer Signal } }
  ? Signal
  : {
      readonly aborted: boolean;
      readonly reason: any;
      addEventListener(type: 'abort', listener: () => void): void;
      removeEventListener(type: 'abort', listener: () => void): void;
    };

/** One attempt of a command, as its handler sees it. After its end it tells nothing more. */
export interface CommandContext {
  /** The command's id. */
  readonly id: string;
  readonly laneId: string;
  /** The number of this attempt, from 1. A preempted attempt is not counted. */
  readonly attempt: number;
  /** When this attempt must have ended; `null` without a time limit. */
  readonly deadline: Date | null;
  /** How many milliseconds this attempt may still take; `null` without a time limit, 0 once it has passed. */
  readonly timeLeftMs: number | null;
  /** What was given with the option `metadata`. */
  readonly metadata: Readonly<Record<string, any>>;
  /**
   * Fires when this attempt is asked to stop. Its `reason` is a `LaneError` with the code `CANCELLED` (a cancel, a
   * preemption), `TIMEOUT`, `STALLED` or `SHUTDOWN_IN_PROGRESS`. Hand it to `fetch` and others that take one.
   *
   * A function cannot be stopped from outside. When it does not stop, its slot is free all the same, and its result is
   * ignored. Only after a cancel or a preemption, in a lane with `graceMs`, may it still end as it likes.
   */
  readonly signal: StopSignal;
  /** Why this attempt was asked to stop, if it was. True at once, also in a loop that never awaits. */
  readonly stopReason: StopReason | undefined;
  /** Tells how far the work is, as a JSON value: to {@link CommandHandle.progress} and as `queue.command.progress`. */
  progress(value: unknown): void;
  /** Hands out a part of the result, as a JSON value: to those who iterate over the handle. */
  emit(chunk: unknown): void;
  /** Shows that the work gets on: `progressTimeoutMs` counts from now. So do `progress` and `emit`. */
  heartbeat(): void;
  /** Corrects what limiters that count cost were charged, to an integer from 0 to 2^53 - 1. */
  settleCost(cost: number): void;
  /**
   * Submits a command on behalf of this one and resolves to its result. Until it has settled, this command lends it its
   * slots: a lane of one that submits to itself goes on.
   */
  submitChild<Out = any, In = unknown>(
    laneId: string,
    commandType: string,
    payload?: In,
    options?: SubmitOptions | null,
  ): Promise<Out>;
}

/** Runs the commands of one type. `this` is undefined. */
export type Handler<In = any, Out = any> = (this: void, payload: In, context: CommandContext) => Out | PromiseLike<Out>;

/**
 * Runs around handlers. `next()` runs what comes after it, in the end the handler, and resolves to its result;
 * `next(payload)` gives it another payload. Called twice, it rejects. What the middleware returns is the result.
 */
export type Middleware = (
  this: void,
  payload: any,
  context: CommandContext,
  next: (payload?: unknown) => Promise<any>,
) => unknown;

/** A handler in worker threads. */
export interface ThreadedHandler {
  /** What each thread loads: a path (a relative one begins at the working directory) or a `file:` URL. */
  module: string | { readonly href: string };
  /** The name of the function that the module exports. Default: its default export. */
  export?: string | undefined;
  /** How many threads, from 1 to 1024; each runs one call at a time. Default: as many as the machine has cores. */
  threads?: number | undefined;
  /**
   * Milliseconds that a call may go on after it was asked to stop; then its thread is ended, and another takes its place.
   * Default 1000.
   */
  graceMs?: number | undefined;
}
