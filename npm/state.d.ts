/** What a lane says of its state. */

import { Explanation } from './handle.js';
import { Lane } from './lane.js';

/** The whole state. */
export interface Snapshot {
  /** When it was taken: RFC 3339, UTC. */
  takenAt: string;
  started: boolean;
  shuttingDown: boolean;
  /** The total `maxConcurrency`. */
  totalLimit: number | null;
  pending: number;
  active: number;
  pausedKeys: string[];
  /** Most urgent lane first. */
  lanes: LaneSnapshot[];
  /** Every command that has not settled, in the order of submission. */
  commands: CommandSnapshot[];
}

/** The state of one lane. */
export interface LaneSnapshot {
  id: string;
  /** As configured. */
  priority: number;
  /** With its boost. */
  effectivePriority: number;
  pending: number;
  active: number;
  min: number;
  max: number;
  paused: boolean;
}

/** The state of one command. */
export interface CommandSnapshot extends Explanation {
  key: string | null;
}

/** What {@link Lane.shutdownWithin} could not bring to its end. */
export interface ShutdownReport {
  /** Commands that ran and were stopped. */
  stopped: Leftover[];
  /** Commands that waited. */
  pending: Leftover[];
  /** Nothing was left. */
  isClean: boolean;
}

/** One command that did not come to its end. */
export interface Leftover {
  commandId: string;
  commandType: string;
  laneId: string;
  /** Attempts before; one that was stopped does not count. */
  attempts: number;
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

/** What was counted and measured so far. Names that were never written are absent. */
export interface MetricsSnapshot {
  /** By name: `lane.commands.completed` for all lanes together, and `lane.commands.completed.query` for one. */
  counters: Record<string, number>;
  /** By name; only of single lanes. */
  gauges: Record<string, number>;
  /** By name, as counters. */
  histograms: Record<string, HistogramStats>;
}

/** The figures of one histogram, in milliseconds. All but the percentiles are exact; those are within 1 %. */
export interface HistogramStats {
  count: number;
  sum: number;
  min: number;
  max: number;
  mean: number;
  percentiles: { p50: number; p90: number; p95: number; p99: number };
}
