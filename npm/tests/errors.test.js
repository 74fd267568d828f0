'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');
const { submitScripted } = require('@a3s-lab/lane/testing');

/** Checks the error of `work`: a LaneError with this code, whose message holds each of `words`. */
function refused(work, code, ...words) {
  assert.throws(work, (error) => {
    assert.ok(error instanceof LaneError, String(error));
    assert.ok(error instanceof Error);
    assert.equal(error.name, 'LaneError');
    assert.equal(error.code, code);
    for (const word of words) assert.ok(error.message.includes(word), `${error.message} lacks ${word}`);
    return true;
  });
}

function wrongType(work, ...words) {
  assert.throws(work, (error) => {
    assert.ok(error instanceof TypeError, String(error));
    for (const word of words) assert.ok(error.message.includes(word), `${error.message} lacks ${word}`);
    return true;
  });
}

/** A lane that differs from a right one in `change`. */
function lane(change) {
  return () => Lane.withLanes([{ laneId: 'high', priority: 1, ...change }]);
}

test('a LaneError looks like an error', () => {
  const error = new LaneError('text', 'OTHER');
  assert.equal(String(error), 'LaneError: text');
  assert.deepEqual(Object.keys(error), ['code']);
  assert.match(error.stack, /errors\.test\.js/);
});

test('one class for CommonJS and ES modules', async () => {
  const esm = await import('@a3s-lab/lane');
  assert.equal(esm.LaneError, LaneError);
  assert.equal(esm.Lane, Lane);
  assert.equal(esm.default.Lane, Lane);
  const { submitScripted: other } = await import('@a3s-lab/lane/testing');
  assert.equal(other, submitScripted);
});

test('codes are those of the core, with its texts', async () => {
  const queue = new Lane();
  queue.start();
  refused(() => queue.submit('nope', 'echo', '1'), 'LANE_NOT_FOUND', 'Lane not found: nope');
  await assert.rejects(submitScripted(queue, 'nope', 'c', [[]]), { name: 'LaneError', code: 'LANE_NOT_FOUND' });
  await assert.rejects(submitScripted(queue, 'query', 'c', [[{ fail: 'boom' }]]), {
    code: 'COMMAND_ERROR',
    message: 'Command execution error: boom',
  });
  queue.shutdown();
  queue.shutdown();
  refused(() => queue.submit('query', 'echo', '1'), 'SHUTDOWN_IN_PROGRESS', 'shutting down');
  refused(() => queue.submit('query', 'echo', '{'), 'INVALID_PAYLOAD');
});

test('submit after shutdown says so, also when the lane was never started', () => {
  const queue = new Lane();
  queue.shutdown();
  refused(() => queue.submit('query', 'echo', '1'), 'SHUTDOWN_IN_PROGRESS');
});

test('a panic in a command is that command\'s error', async () => {
  const queue = new Lane();
  queue.start();
  await assert.rejects(submitScripted(queue, 'query', 'c', [[{ panic: 'boom' }]]), (error) => {
    assert.equal(error.code, 'PANICKED');
    assert.match(error.message, /boom/);
    return true;
  });
  assert.equal(queue.submit('query', 'echo', '1'), '1');
});

test('a bad script is refused', async () => {
  const queue = new Lane();
  queue.start();
  for (const script of [{}, [[{ dance: 1 }]], [[{ sleep_ms: -1 }]]]) {
    await assert.rejects(submitScripted(queue, 'query', 'c', script), LaneError, JSON.stringify(script));
  }
  await assert.rejects(submitScripted(queue, 'query', 'c', undefined), TypeError);
  await assert.rejects(submitScripted({}, 'query', 'c', [[]]), TypeError);
});

test('payloads that are not JSON are refused', () => {
  const queue = new Lane();
  queue.start();
  for (const text of ['', '{', 'undefined', 'NaN', '1 2', "{'a':1}", '1e999', '['.repeat(1000), '"\\ud800"']) {
    refused(() => queue.submit('query', 'echo', text), 'INVALID_PAYLOAD', 'payload');
  }
  const nested = (levels) => '['.repeat(levels) + ']'.repeat(levels);
  assert.equal(queue.submit('query', 'echo', nested(127)), nested(127));
  refused(() => queue.submit('query', 'echo', nested(128)), 'INVALID_PAYLOAD');
  wrongType(() => queue.submit('query', 'echo', { a: 1 }), 'payload (JSON text) must be a string', 'object');
  wrongType(() => queue.submit('query', 'echo', 1), 'payload');
});

test('l29_numbers_out_of_range_are_refused_not_wrapped', () => {
  const whole = [-1, 0.5, NaN, Infinity, -Infinity, 4294967296, 2 ** 53, 1e300];
  const fields = {
    priority: [[256, 65536, ...whole], '0 to 255'],
    minConcurrency: [whole, '0 to 4294967295'],
    maxConcurrency: [[0, ...whole], '1 to 4294967295'],
    pressureThreshold: [[0, ...whole], '1 to 4294967295'],
    timeoutSecs: [[0, -0, -1, NaN, Infinity, 4294967296, 1e300], '4294967295'],
  };
  for (const [field, [values, range]] of Object.entries(fields)) {
    for (const value of values) refused(lane({ [field]: value }), 'CONFIG_ERROR', 'high', field, range);
  }
  const retries = {
    maxRetries: whole,
    initialDelayMs: [-1, NaN, Infinity, 4294967296],
    maxDelayMs: [-1, NaN, Infinity, 4294967296],
  };
  for (const [field, values] of Object.entries(retries)) {
    for (const value of values) {
      const retryPolicy = { maxRetries: 1, [field]: value };
      refused(lane({ retryPolicy }), 'CONFIG_ERROR', 'high', `retryPolicy.${field}`, '0 to 4294967295');
    }
  }
  for (const multiplier of [-1, NaN, Infinity]) {
    refused(lane({ retryPolicy: { maxRetries: 1, multiplier } }), 'CONFIG_ERROR', 'high', 'multiplier');
  }
  for (const dlqSize of [0, ...whole]) {
    refused(() => new Lane({ dlqSize }), 'CONFIG_ERROR', 'dlqSize', '1 to 4294967295');
  }
});

test('l29_settings_that_contradict_each_other_are_refused', () => {
  refused(lane({ minConcurrency: 3, maxConcurrency: 2 }), 'CONFIG_ERROR', 'high', 'min_concurrency');
  refused(lane({ minConcurrency: 11 }), 'CONFIG_ERROR', 'high', 'min_concurrency');
  refused(lane({ retryPolicy: { maxRetries: 1, maxDelayMs: 1 } }), 'CONFIG_ERROR', 'high', 'retryPolicy.maxDelayMs', 'initialDelayMs');
  refused(lane({ laneId: '' }), 'CONFIG_ERROR', 'lane id');
  refused(() => Lane.withLanes([]), 'CONFIG_ERROR', 'configs', 'at least one lane');
  const twice = [1, 2].map((priority) => ({ laneId: 'high', priority }));
  refused(() => Lane.withLanes(twice), 'CONFIG_ERROR', 'high', 'laneId is used by an earlier lane');
});

test('l29_the_limits_themselves_are_fine', () => {
  const most = 4294967295;
  const queue = Lane.withLanes([
    { laneId: 'a', priority: 255, minConcurrency: most, maxConcurrency: most, pressureThreshold: most },
    { laneId: 'b', priority: 0, minConcurrency: 0, maxConcurrency: 1, timeoutSecs: most },
    { laneId: 'c', priority: 0, retryPolicy: { maxRetries: most, initialDelayMs: 0, maxDelayMs: most, multiplier: 0 } },
  ]);
  queue.start();
  assert.equal(queue.stats().lanes[2].maxConcurrency, most);
  for (const id of ['a', 'b', 'c']) assert.equal(queue.submit(id, 'echo', '1'), '1');
  queue.drain(most);
});

test('l29_drain_refuses_what_is_not_a_time', async () => {
  const queue = new Lane();
  for (const timeout of [-1, NaN, Infinity, -Infinity, 4294967296, 1e300]) {
    refused(() => queue.drain(timeout), 'INVALID_ARGUMENT', 'timeoutMs', '0 to 4294967295');
    await assert.rejects(queue.drainAsync(timeout), { name: 'LaneError', code: 'INVALID_ARGUMENT' });
  }
  for (const timeout of [undefined, null, '1', 1n, {}]) {
    wrongType(() => queue.drain(timeout), 'timeoutMs must be a number');
    await assert.rejects(queue.drainAsync(timeout), TypeError);
  }
});

test('l29_big_integers_stay_exact_or_are_refused', () => {
  const queue = new Lane();
  queue.start();
  for (const text of ['18446744073709551615', '-9223372036854775808', '{"n":9007199254740993}']) {
    assert.equal(queue.submit('query', 'echo', text), text);
  }
  for (const text of ['18446744073709551616', '-9223372036854775809', '[{"n":123456789012345678901234567890}]']) {
    refused(() => queue.submit('query', 'echo', text), 'INVALID_PAYLOAD', '64 bits');
  }
});

test('wrong types are TypeErrors that name the argument', () => {
  const queue = new Lane();
  queue.start();
  wrongType(() => queue.submit(1, 'echo', '1'), 'laneId must be a string (got number)');
  wrongType(() => queue.submit('query', undefined), 'commandType must be a string (got undefined)');
  wrongType(() => queue.subscribe(), 'callback must be a function');
  wrongType(() => queue.subscribeFiltered('key', () => {}), 'keys must be an array');
  wrongType(() => queue.subscribeFiltered([1], () => {}), 'keys[0] must be a string');
  wrongType(() => new Lane(5), 'options must be an object');
  wrongType(() => new Lane(null), 'options must be an object (got null)');
  wrongType(() => new Lane({ dlqSize: '5' }), 'options.dlqSize must be a number (got string)');
  wrongType(() => Lane.withLanes({}), 'configs must be an array');
  wrongType(() => Lane.withLanes([null]), 'configs[0] must be an object');
  wrongType(lane({ laneId: 1 }), 'configs[0].laneId must be a string');
  wrongType(lane({ priority: '1' }), 'configs[0].priority must be a number (got string)');
  wrongType(lane({ priority: 1n }), 'configs[0].priority must be a number (got bigint)');
  for (const field of ['minConcurrency', 'maxConcurrency', 'timeoutSecs', 'pressureThreshold']) {
    wrongType(lane({ [field]: '1' }), `configs[0].${field} must be a number`);
  }
  wrongType(lane({ retryPolicy: 3 }), 'configs[0].retryPolicy must be an object');
  wrongType(lane({ retryPolicy: {} }), 'configs[0].retryPolicy.maxRetries must be a number');
});

test('misspelt fields are not ignored', () => {
  wrongType(() => new Lane({ dlqsize: 5 }), "'dlqsize'", 'dlqSize');
  wrongType(lane({ maxConcurency: 1 }), "'maxConcurency'", 'maxConcurrency');
  wrongType(lane({ retryPolicy: { maxRetries: 1, initialDelay: 1 } }), "'initialDelay'", 'initialDelayMs');
});

test('methods need a Lane', () => {
  wrongType(() => Lane.prototype.start.call({}), 'not a Lane');
  assert.throws(() => Lane(), TypeError);
});
