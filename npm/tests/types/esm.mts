// What the declared types allow and refuse. `tsc` must accept this file: each @ts-expect-error marks a line that must
// *not* compile.

import lanes, { Lane, LaneError } from '@a3s-lab/lane';
import type {
  EventCallback,
  LaneConfig,
  LaneErrorCode,
  LaneEvent,
  LaneOptions,
  LaneStatus,
  QueueStats,
  RetryPolicy,
  Subscription,
} from '@a3s-lab/lane';
import testing, { submitScripted } from '@a3s-lab/lane/testing';
import type { Script, Step } from '@a3s-lab/lane/testing';

/** Fails to compile unless the two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_proof: Same<A, B>): void {}

const lane = new Lane();
new Lane({});
new Lane({ dlqSize: 5 });
new Lane({ dlqSize: undefined });
// @ts-expect-error a number is wanted
new Lane({ dlqSize: '5' });
// @ts-expect-error no such option
new Lane({ dlqsize: 5 });

const least: LaneConfig = { laneId: 'a', priority: 0 };
const retryPolicy: RetryPolicy = { maxRetries: 1 };
const most: LaneConfig = {
  laneId: 'a',
  priority: 0,
  minConcurrency: 1,
  maxConcurrency: 2,
  timeoutSecs: 0.5,
  pressureThreshold: 3,
  retryPolicy: { ...retryPolicy, initialDelayMs: 1, maxDelayMs: 2, multiplier: 3 },
};
const options: LaneOptions = { dlqSize: 1 };
same<Lane, ReturnType<typeof Lane.withLanes>>(true);
Lane.withLanes([least, most] as const, options);
// @ts-expect-error the id is missing
Lane.withLanes([{ priority: 0 }]);
// @ts-expect-error the priority is missing
Lane.withLanes([{ laneId: 'a' }]);
// @ts-expect-error retries need their number
Lane.withLanes([{ laneId: 'a', priority: 0, retryPolicy: {} }]);

same<void, ReturnType<typeof lane.start>>(true);
same<string, ReturnType<typeof lane.submit>>(true);
lane.submit('query', 'echo');
lane.submit('query', 'echo', '{}');
// @ts-expect-error JSON text is wanted, not the value
lane.submit('query', 'echo', { a: 1 });

const callback: EventCallback = (error, event) => {
  same<LaneError | null, typeof error>(true);
  same<LaneEvent, typeof event>(true);
  const texts: string[] = [event.key, event.payload, event.timestamp];
  return texts;
};
const subscription: Subscription = lane.subscribe(callback);
same<void, ReturnType<typeof subscription.close>>(true);
same<boolean, typeof subscription.closed>(true);
// What callers of 0.4 rely on.
interface OldLane {
  start(): void;
  submit(laneId: string, commandType: string, payload?: string): string;
  subscribe(callback: (err: null | Error, event: LaneEvent) => void): void;
  subscribeFiltered(keys: string[], callback: (err: null | Error, event: LaneEvent) => void): void;
  shutdown(): void;
  drain(timeoutMs: number): void;
}
const old: OldLane = lane;
old.subscribe((err, event) => console.log(err, event));
lane.subscribeFiltered(['queue.command.started'], callback);
// @ts-expect-error keys come first
lane.subscribeFiltered(callback);

same<QueueStats, ReturnType<typeof lane.stats>>(true);
const { totalPending, totalActive, deadLetterCount, lanes: statuses } = lane.stats();
const first: LaneStatus | undefined = statuses[0];
const numbers: number[] = [totalPending, totalActive, deadLetterCount];
if (first !== undefined) {
  numbers.push(first.pending, first.active, first.minConcurrency, first.maxConcurrency, first.laneId.length);
}

same<void, ReturnType<typeof lane.shutdown>>(true);
same<void, ReturnType<typeof lane.drain>>(true);
same<Promise<void>, ReturnType<typeof lane.drainAsync>>(true);
// @ts-expect-error a limit is wanted
lane.drain();

try {
  lane.drain(0);
} catch (error) {
  if (error instanceof LaneError) {
    same<LaneErrorCode, typeof error.code>(true);
    const text: string = error.message;
    // @ts-expect-error no such code
    if (error.code === 'LANE_NOT_FOUNT') console.log(text);
    if (error.code === 'TIMEOUT') console.log(text);
  }
}
new LaneError('text', 'OTHER');
// @ts-expect-error a code is wanted
new LaneError('text');

const step: Step = { fail: 'boom' };
const script: Script = [[step], [{ sleep_ms: 1 }, { return: { any: 1 } }]];
const result: Promise<unknown> = submitScripted(lane, 'query', 'c', script);
// @ts-expect-error no such step
submitScripted(lane, 'query', 'c', [[{ dance: 1 }]]);

same<typeof Lane, typeof lanes.Lane>(true);
same<typeof submitScripted, typeof testing.submitScripted>(true);

declare const console: { log(...values: unknown[]): void };
export { numbers, result };
