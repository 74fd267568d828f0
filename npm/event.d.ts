/** What happens in a lane, as it happens. */

import { LaneError } from './error.js';
import { Lane } from './lane.js';

/** Something that happened in a lane, as {@link Lane.events} gives it. */
export interface IteratedEvent {
  /** Which kind of event, such as `queue.command.started`. */
  key: string;
  /** What the event says; `null` when it says nothing more. */
  payload: Readonly<Record<string, any>> | null;
  /** When it happened: RFC 3339, UTC. */
  timestamp: string;
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

/** Is called for each event, in order. `error` is null unless events cannot be delivered any more. */
export type EventCallback = (error: null | LaneError, event: LaneEvent) => void;

/** Events of a lane on their way to a callback. */
export interface Subscription {
  /** Stops the calls of the callback, also for events that already happened. */
  close(): void;
  /** Whether no further call of the callback will come. */
  readonly closed: boolean;
}
