// What the declared types allow and refuse. `tsc` must accept this file: each @ts-expect-error marks a line that must
// *not* compile.

import lanes, { Lane, LaneError, inspect } from '@a3s-lab/lane';
import type {
  Inspection,
  Alert,
  Alerts,
  BareHandle,
  BatchCommand,
  Chunk,
  CommandContext,
  CommandHandle,
  CommandSnapshot,
  CommandStatus,
  DeadLetter,
  DeadLetterFilter,
  DeadLetters,
  EventCallback,
  Explanation,
  FailedAttempt,
  Handler,
  HistogramStats,
  HistoryEntry,
  HistoryFilter,
  IteratedEvent,
  Jitter,
  LaneConfig,
  LaneErrorCode,
  LaneEvent,
  LaneOptions,
  LaneSnapshot,
  LaneStatus,
  Leftover,
  LatencyThresholds,
  Limiter,
  MetricsSnapshot,
  Middleware,
  Overflow,
  PriorityBoost,
  QueueDepthThresholds,
  QueueStats,
  RateLimit,
  Retention,
  Retried,
  RetryPolicy,
  ShutdownReport,
  Snapshot,
  StopReason,
  StopSignal,
  StoredOptions,
  SubmitOptions,
  Subscription,
  ThreadedHandler,
  UnclaimedCommand,
  Unique,
  WaitReason,
} from '@a3s-lab/lane';
import testing, { enqueueScripted, submitManyScripted, submitScripted } from '@a3s-lab/lane/testing';
import type { Script, ScriptedBatchCommand, Step } from '@a3s-lab/lane/testing';

/** Fails to compile unless the two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_proof: Same<A, B>): void {}

const lane = new Lane();
new Lane({});
new Lane({ dlqSize: 5 });
new Lane({ dlqSize: undefined });
const limiter: Limiter = {
  maxCommands: 1,
  windowMs: 2,
  algorithm: 'sliding_window',
  burst: 3,
  countingCommands: true,
  reserve: 4,
  urgentUpTo: 5,
};
new Lane({ maxConcurrency: 6, limiters: { tokens: limiter, calls: { maxCommands: 1, windowMs: 2 } } } as const);
// @ts-expect-error no such algorithm
new Lane({ limiters: { tokens: { maxCommands: 1, windowMs: 2, algorithm: 'leaky' } } });
// @ts-expect-error the window is missing
new Lane({ limiters: { tokens: { maxCommands: 1 } } });
// @ts-expect-error a number is wanted
new Lane({ dlqSize: '5' });
// @ts-expect-error no such option
new Lane({ dlqsize: 5 });
const queueDepth: QueueDepthThresholds = { warningThreshold: 1, criticalThreshold: 2 };
const latency: LatencyThresholds = { warningThresholdMs: 1.5, criticalThresholdMs: undefined };
const alerts: Alerts = {
  queueDepth,
  latency,
  callback: (alert) => {
    same<Alert, typeof alert>(true);
    same<'info' | 'warning' | 'critical', typeof alert.level>(true);
    const figures: number[] = [alert.currentValue, alert.threshold, alert.missed];
    return [alert.laneId.length, alert.message.length, ...figures];
  },
};
new Lane({ metrics: true, alerts });
const kept: Retention = { maxAgeMs: 1, maxCount: 2 };
new Lane({ storage: 'd', durability: 'relaxed', maxCrashes: 1, results: kept, history: {}, maxDeadLetters: 3 } as const);
// @ts-expect-error no such durability
new Lane({ storage: 'd', durability: 'total' });
// @ts-expect-error an object is wanted
new Lane({ storage: 'd', results: true });
// @ts-expect-error somebody must be told
new Lane({ alerts: { queueDepth } });
// @ts-expect-error thresholds are numbers
new Lane({ alerts: { latency: { warningThresholdMs: '1' }, callback: () => {} } });
// @ts-expect-error it is on or off
new Lane({ metrics: 'local' });

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
  maxPending: 4,
  overflow: 'drop_oldest',
  preemptible: true,
  graceMs: 5,
  progressTimeoutMs: 6,
  maxConcurrencyPerKey: 7,
  keyWeights: { gold: 8 },
  retryJitter: 'full',
  rateLimit: { maxCommands: 9, windowMs: 10 },
  burst: 11,
  priorityBoost: { deadlineMs: 12, steps: [[6, 1]] },
  limiters: ['tokens'],
};
same<'reject' | 'wait' | 'drop_oldest', Overflow>(true);
same<'none' | 'full' | 'equal', Jitter>(true);
same<Required<RateLimit>, RateLimit>(true);
const boost: PriorityBoost = { deadlineMs: 1 };
// @ts-expect-error a step is a pair
boost.steps = [[1]];
// @ts-expect-error no such overflow
least.overflow = 'block';
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
same<Promise<void>, ReturnType<typeof lane.startAsync>>(true);
same<Promise<UnclaimedCommand[]>, ReturnType<typeof lane.unclaimed>>(true);
same<'no_handler' | 'no_lane' | 'unreadable', UnclaimedCommand['reason']>(true);
same<DeadLetters, typeof lane.deadLetters>(true);
// @ts-expect-error read only
lane.deadLetters = lane.deadLetters;
async function keeps(): Promise<void> {
  const found = await lane.find<number>('a');
  same<BareHandle<number> | null, typeof found>(true);
  if (found !== null) same<number, Awaited<ReturnType<typeof found.result>>>(true);
  const history: HistoryFilter = { commandId: 'a', laneId: 'b', since: new Date(), after: 1, limit: 2 };
  const entries: HistoryEntry[] = await lane.history(history);
  const filter: DeadLetterFilter = { ids: ['a'], laneId: 'b', commandType: 'c', code: 'd', since: new Date(), limit: 1 };
  const [letter] = await lane.deadLetters.list({ ...filter, until: undefined });
  if (letter !== undefined) {
    same<DeadLetter, typeof letter>(true);
    const attempt: FailedAttempt | undefined = letter.failures[0];
    const options: StoredOptions = letter.options;
    const again: SubmitOptions = { timeoutMs: options.timeoutMs, retryPolicy: options.retryPolicy };
    const handle = await lane.deadLetters.retry(letter.commandId, { payload: { attempt, again, entries } });
    same<BareHandle<any>, typeof handle>(true);
    await handle.accepted();
  }
  for (const retried of await lane.deadLetters.retryAll(null)) {
    same<Retried, typeof retried>(true);
    if (retried.error === undefined) await retried.handle.result();
    else same<LaneError, typeof retried.error>(true);
  }
  const counts: number[] = [await lane.deadLetters.discard(), await lane.deadLetters.import(await lane.deadLetters.export())];
  // @ts-expect-error a Date is wanted
  await lane.deadLetters.list({ since: letter?.failedAt });
  // @ts-expect-error no such field
  await lane.deadLetters.discard({ id: String(counts) });
}
void keeps;
same<string, ReturnType<typeof lane.submit>>(true);
lane.submit('query', 'echo');
lane.submit('query', 'echo', '{}');
// @ts-expect-error JSON text is wanted, not the value
lane.submit('query', 'echo', { a: 1 });

const unique: Unique = { key: 'u', windowMs: 1, onConflict: 'join' };
const everything: SubmitOptions = {
  id: 'x',
  priority: -1,
  delayMs: 1,
  runAt: new Date(),
  ttlMs: 2,
  timeoutMs: 3,
  noTimeout: false,
  progressTimeoutMs: 4,
  retryPolicy,
  jitter: 'equal',
  key: 'k',
  unique,
  cost: 5,
  metadata: { user: { id: 7 } },
  preemptible: false,
};
lane.submit('query', 'echo', null, everything);
lane.submit('query', 'echo', undefined, { unique: 'u' });
// @ts-expect-error a Date is wanted
lane.submit('query', 'echo', null, { runAt: 0 });
// @ts-expect-error no such option
lane.submit('query', 'echo', null, { timeoutSecs: 1 });
const handle: CommandHandle = lane.enqueue('query', 'echo', '1', everything);
same<string, Awaited<typeof handle>>(true);
same<Promise<string>, ReturnType<typeof handle.result>>(true);
same<boolean, ReturnType<typeof handle.cancel>>(true);
same<Explanation | null, ReturnType<typeof handle.explain>>(true);
const settled = ['completed', 'failed', 'timed_out', 'cancelled', 'expired'] as const;
same<'pending' | 'delayed' | 'running' | (typeof settled)[number], CommandStatus>(true);
same<CommandStatus, typeof handle.status>(true);
// @ts-expect-error it has its id for ever
handle.id = 'y';
// @ts-expect-error a promise has more
handle.finally();
export async function read(): Promise<unknown[]> {
  const seen: unknown[] = [await handle, await Promise.all([handle, handle.result()])];
  for await (const progress of handle.progress()) same<string, typeof progress>(true);
  for await (const chunk of handle.chunks()) {
    same<Chunk, typeof chunk>(true);
    const counted: number[] = [chunk.attempt, chunk.index, chunk.missed];
    seen.push(chunk.value.length, ...counted);
  }
  return seen;
}
const batch: BatchCommand[] = [{ commandType: 'x' }, { commandType: 'x', payload: null, options: everything }];
for (const answer of lane.submitMany('query', batch)) {
  if (answer instanceof LaneError) same<LaneErrorCode, typeof answer.code>(true);
  else same<CommandHandle, typeof answer>(true);
}
// @ts-expect-error the type is missing
lane.submitMany('query', [{}]);

const answers: boolean[] = [lane.cancel('x')];
const counts: number[] = [lane.cancelLane('query'), lane.cancelKey('k')];
same<void, ReturnType<typeof lane.pauseLane>>(true);
lane.pauseLane('query');
lane.resumeLane('query');
lane.pauseKey('k');
lane.resumeKey('k');
lane.setLane(most);
lane.removeLane('a');
lane.setMaxConcurrency(1);
lane.setMaxConcurrency(null);
// @ts-expect-error no limit is null
lane.setMaxConcurrency();
lane.setLimiter('tokens', limiter);
same<Explanation | null, ReturnType<typeof lane.explain>>(true);
export function why({ commandId, laneId, status, attempts, ageMs, reasons }: Explanation): string {
  const texts = reasons.map((reason: WaitReason) => {
    switch (reason.reason) {
      case 'not_started':
      case 'lane_paused':
      case 'expired':
        return reason.reason;
      case 'key_paused':
        return reason.key;
      case 'delayed':
        return reason.until;
      case 'behind':
        return String(reason.commands);
      case 'lane_full':
        return reason.running.join() + reason.max.toFixed();
      case 'key_busy':
        return reason.key + reason.active.toFixed();
      case 'total_reached':
        return reason.total.toFixed();
      case 'reserved':
        return reason.slots.toFixed();
      case 'rate_limited':
        return reason.until === null ? 'for ever' : reason.until;
    }
  });
  return [commandId, laneId, status, attempts, ageMs, ...texts].join();
}
export function shown({ lanes: of, commands, totalLimit, ...rest }: Snapshot): unknown[] {
  same<LaneSnapshot[], typeof of>(true);
  same<CommandSnapshot[], typeof commands>(true);
  same<number | null, typeof totalLimit>(true);
  const { takenAt, started, shuttingDown, pending, active, pausedKeys, ...nothing } = rest;
  same<{}, typeof nothing>(true);
  return [takenAt, started, shuttingDown, pending, active, pausedKeys, commands.map(({ key }) => key)];
}
shown(lane.snapshot());
lane.shutdownWithin(1).then((report) => {
  same<ShutdownReport, typeof report>(true);
  const left: Leftover[] = [...report.stopped, ...report.pending];
  return report.isClean || left.map(({ commandId, commandType, laneId, attempts }) => [commandId, commandType, laneId, attempts]);
});

same<void, ReturnType<typeof lane.handle>>(true);
lane.handle('plain', () => 1);
lane.handle('untyped', async (payload, ctx) => {
  same<CommandContext, typeof ctx>(true);
  return payload.anything;
});
lane.handle<{ id: number }, string>('typed', async ({ id }, ctx) => {
  same<number, typeof id>(true);
  same<string, typeof ctx.id>(true);
  same<number, typeof ctx.attempt>(true);
  same<Date | null, typeof ctx.deadline>(true);
  same<number | null, typeof ctx.timeLeftMs>(true);
  same<StopReason | undefined, typeof ctx.stopReason>(true);
  same<StopSignal, typeof ctx.signal>(true);
  const aborted: boolean = ctx.signal.aborted;
  ctx.signal.addEventListener('abort', () => console.log(ctx.signal.reason, aborted, ctx.metadata['user']));
  ctx.progress({ any: 'value' });
  ctx.emit(1);
  ctx.heartbeat();
  ctx.settleCost(5);
  same<Promise<number>, ReturnType<typeof child>>(true);
  const child = () => ctx.submitChild<number>(ctx.laneId, 'typed', { id }, everything);
  return String(await child());
});
// @ts-expect-error its result is a string
lane.handle<number, string>('wrong', (n) => n);
// @ts-expect-error its payload is a number
lane.handle<number, string>('wrong', (n: string) => n);
// @ts-expect-error a function is wanted
lane.handle('wrong', 'x');
lane.handle('wrong', (_, ctx) => {
  // @ts-expect-error an attempt has its number for ever
  ctx.attempt = 2;
  // @ts-expect-error a cost is a number
  ctx.settleCost('5');
});
const middleware: Middleware = async (payload, ctx, next) => {
  same<CommandContext, typeof ctx>(true);
  same<Promise<any>, ReturnType<typeof next>>(true);
  return [await next(), await next({ any: payload })];
};
same<void, ReturnType<typeof lane.use>>(true);
lane.use(middleware);
lane.use((_, __, next) => next());
// @ts-expect-error a function is wanted
lane.use('x');
const threads: ThreadedHandler = { module: './x.js', export: 'x', threads: 2, graceMs: 5 };
lane.handle('threads', threads);
lane.handle('threads', { module: { href: 'file:///x.js' } });
// @ts-expect-error the module is missing
lane.handle('threads', { threads: 2 });
// @ts-expect-error no such option
lane.handle('threads', { module: './x.js', thread: 2 });
const handler: Handler<string, number> = (text) => Promise.resolve(text.length);
lane.handle('length', handler);
same<boolean, ReturnType<typeof lane.removeHandler>>(true);
const length: Promise<number> = lane.submitAsync<number, string>('query', 'length', 'text', everything);
// @ts-expect-error the payload is a string
lane.submitAsync<number, string>('query', 'length', 5);
// @ts-expect-error no such option
lane.submitAsync('query', 'length', 5, { timeout: 1 });
const typed = lane.enqueue<{ pages: number }>('query', 'typed', { id: 7 });
same<CommandHandle<{ pages: number }>, typeof typed>(true);
same<Promise<{ pages: number }>, ReturnType<typeof typed.result>>(true);
const ofText = lane.enqueue<number>('query', 'length', 'text');
same<CommandHandle<number>, typeof ofText>(true);
for (const answer of lane.submitMany<number, { id: number }>('query', [{ commandType: 'typed', payload: { id: 1 } }])) {
  if (!(answer instanceof LaneError)) same<CommandHandle<number>, typeof answer>(true);
}
// @ts-expect-error the payload is a number
lane.submitMany<number, number>('query', [{ commandType: 'typed', payload: 'x' }]);
export async function iterate(): Promise<unknown> {
  for await (const chunk of typed) same<unknown, typeof chunk>(true);
  for await (const value of typed.progress()) same<unknown, typeof value>(true);
  for await (const event of lane.events({ keys: ['queue.command.started'] })) {
    same<IteratedEvent, typeof event>(true);
    if (event.payload !== null) return [event.key, event.timestamp, event.payload['lane_id']];
  }
  for await (const event of lane.events()) return event;
  // @ts-expect-error keys are a list
  lane.events({ keys: 'x' });
  await lane[Symbol.asyncDispose]();
  return (await typed).pages + (await ofText) + (await length);
}
const unrecoverable: LaneError = LaneError.unrecoverable('no', { cause: 1 });
const caused: unknown = new LaneError('text', 'COMMAND_ERROR', { cause: unrecoverable }).cause;

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

same<MetricsSnapshot | null, ReturnType<typeof lane.metrics>>(true);
export function measured({ counters, gauges, histograms, ...rest }: MetricsSnapshot): unknown[] {
  same<{}, typeof rest>(true);
  same<Record<string, number>, typeof counters>(true);
  const waits: HistogramStats | undefined = histograms['lane.command.wait_time_ms'];
  if (waits === undefined) return [counters['lane.commands.submitted'], gauges['lane.queue.depth.query']];
  const { p50, p90, p95, p99 } = waits.percentiles;
  const figures: number[] = [waits.count, waits.sum, waits.min, waits.max, waits.mean, p50, p90, p95, p99];
  return figures;
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

const more: Step[] = [{ progress: 1 }, { emit: {} }, { heartbeat: {} }, { settle_cost: 1 }, { await_cancel: {} }];
same<CommandHandle, ReturnType<typeof enqueueScripted>>(true);
enqueueScripted(lane, 'query', 'c', [more, [{ return_metadata: {} }]], everything);
const scripts: ScriptedBatchCommand[] = [{ commandType: 'c', script, options: everything }];
same<(CommandHandle | LaneError)[], ReturnType<typeof submitManyScripted>>(true);
submitManyScripted(lane, 'query', scripts);

same<Promise<Inspection>, ReturnType<typeof inspect>>(true);
same<Promise<void>, ReturnType<typeof lane.close>>(true);
inspect('directory').then(({ lanes: [first], problems }) => {
  const told: (string | number | undefined)[] = [first?.laneId, first?.pending, first?.oldestCreatedAt, ...problems];
  return told;
});

same<typeof Lane, typeof lanes.Lane>(true);
same<typeof submitScripted, typeof testing.submitScripted>(true);

declare const console: { log(...values: unknown[]): void };
export { answers, caused, counts, numbers, result };
