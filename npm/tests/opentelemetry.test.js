'use strict';

// OpenTelemetry's own context manager, as a program sets it up: what is active where a command is submitted is active in its
// handler.

const assert = require('node:assert/strict');
const path = require('path');
const test = require('node:test');

const { ROOT_CONTEXT, context, createContextKey, propagation, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');

const { Lane } = require('@a3s-lab/lane');

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

const KEY = createContextKey('user');

/** A context with a span, a baggage entry and a value, all told apart by `digit`. */
function contextOf(digit) {
  const span = { traceId: digit.repeat(32), spanId: digit.repeat(16), traceFlags: 1 };
  const baggage = propagation.createBaggage({ tenant: { value: digit } });
  return propagation.setBaggage(trace.setSpanContext(ROOT_CONTEXT, span), baggage).setValue(KEY, digit);
}

/** The digit of the active context; it must be the same everywhere. */
function active() {
  const span = trace.getActiveSpan();
  if (span === undefined) return undefined;
  const { traceId, spanId } = span.spanContext();
  const digits = [
    traceId[0],
    spanId[0],
    propagation.getActiveBaggage().getEntry('tenant').value,
    context.active().getValue(KEY),
  ];
  assert.deepEqual(new Set(digits).size, 1, digits.join());
  return digits[0];
}

test('the context travels from submit to handler, however it is submitted', async () => {
  const lane = Lane.withLanes([{ laneId: 'one', priority: 0, maxConcurrency: 1, retryPolicy: { maxRetries: 1, initialDelayMs: 1 } }]);
  lane.start();
  lane.handle('inner', () => active());
  lane.handle('outer', async (_, ctx) => {
    const first = active();
    if (ctx.attempt === 1) throw new Error('the next attempt has the context too');
    await new Promise(setImmediate);
    return [first, active(), await ctx.submitChild('one', 'inner')];
  });
  const within = (digit, work) => context.with(contextOf(digit), work);
  const calls = [
    within('1', () => lane.submitAsync('one', 'outer')),
    within('2', () => lane.submitAsync('one', 'outer', null, { delayMs: 5 })),
    within('3', () => lane.enqueue('one', 'outer')),
    within('4', () => lane.submitMany('one', [{ commandType: 'outer' }])[0]),
    within('5', () => lane.submitMany('one', [{ commandType: 'outer', options: { priority: -1 } }])[0]),
    lane.submitAsync('one', 'outer'),
  ];
  const expected = ['1', '2', '3', '4', '5', undefined].map((digit) => [digit, digit, digit]);
  assert.deepEqual(await Promise.all(calls), expected);
});

test('a span that a middleware opens is that of the handler', async () => {
  const lane = new Lane();
  lane.start();
  lane.use((payload, ctx, next) => {
    const parent = active();
    return context.with(contextOf('9'), async () => [parent, await next()]);
  });
  lane.handle('x', async () => active());
  assert.deepEqual(await context.with(contextOf('1'), () => lane.submitAsync('query', 'x')), ['1', '9']);
});

test('into worker threads goes what a middleware puts into the payload', async () => {
  const lane = new Lane();
  lane.start();
  lane.use((payload, ctx, next) => next({ ...payload, b: Number(active()) }));
  lane.handle('add', { module: path.join(__dirname, 'modules', 'work.js'), export: 'add', threads: 1 });
  const { sum } = await context.with(contextOf('7'), () => lane.submitAsync('query', 'add', { a: 1 }));
  assert.equal(sum, 8);
});
