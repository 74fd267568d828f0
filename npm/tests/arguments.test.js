'use strict';

// Wrong arguments of what commands and lanes may have besides the first settings: see errors.test.js for those.

const assert = require('node:assert/strict');
const test = require('node:test');

const { Lane, LaneError } = require('@a3s-lab/lane');

/** Checks the error of `work`: a LaneError with this code, whose message holds each of `words`. */
function refused(work, code, ...words) {
  assert.throws(work, (error) => {
    assert.ok(error instanceof LaneError, String(error));
    assert.equal(error.code, code, error.message);
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

function lane(change) {
  return () => Lane.withLanes([{ laneId: 'high', priority: 1, ...change }]);
}

function limiter(change) {
  return () => new Lane({ limiters: { tokens: { maxCommands: 5, windowMs: 1, ...change } } });
}

function enqueue(options) {
  return () => new Lane().enqueue('query', 'x', null, options);
}

const WHOLE = [-1, 0.5, NaN, Infinity, 4294967296];
const LARGE = [-1, 0.5, NaN, Infinity, 2 ** 53];
const TIME = [-1, NaN, Infinity, 4294967296];

test('l29_lane_settings_out_of_range_are_refused', () => {
  const fields = {
    maxPending: [[0, ...WHOLE], '1 to 4294967295'],
    maxConcurrencyPerKey: [[0, ...WHOLE], '1 to 4294967295'],
    burst: [[0, ...LARGE], '1 to 9007199254740991'],
    graceMs: [TIME, '0 to 4294967295'],
    progressTimeoutMs: [TIME, '0 to 4294967295'],
    overflow: [['', 'Wait', 'drop-oldest'], "'reject', 'wait', 'drop_oldest'"],
    retryJitter: [['some'], "'none', 'full', 'equal'"],
  };
  for (const [field, [values, range]] of Object.entries(fields)) {
    for (const value of values) refused(lane({ [field]: value }), 'CONFIG_ERROR', 'high', field, range);
  }
  for (const weight of [0, ...WHOLE]) {
    refused(lane({ keyWeights: { gold: weight } }), 'CONFIG_ERROR', 'high', "keyWeights['gold']", '1 to 4294967295');
  }
  const rate = (change) => lane({ rateLimit: { maxCommands: 1, windowMs: 1, ...change } });
  for (const value of LARGE) refused(rate({ maxCommands: value }), 'CONFIG_ERROR', 'rateLimit.maxCommands');
  for (const value of TIME) refused(rate({ windowMs: value }), 'CONFIG_ERROR', 'rateLimit.windowMs');
  const boost = (change) => lane({ priorityBoost: { deadlineMs: 10, ...change } });
  for (const value of TIME) refused(boost({ deadlineMs: value }), 'CONFIG_ERROR', 'priorityBoost.deadlineMs');
  for (const value of TIME) refused(boost({ steps: [[1, 1], [value, 1]] }), 'CONFIG_ERROR', 'priorityBoost.steps[1][0]');
  for (const value of [256, -1, 0.5]) refused(boost({ steps: [[1, value]] }), 'CONFIG_ERROR', 'steps[0][1]', '0 to 255');
});

test('l29_settings_that_need_or_exclude_each_other', () => {
  refused(lane({ progressTimeoutMs: 0 }), 'CONFIG_ERROR', 'high', 'progress_timeout');
  refused(lane({ overflow: 'wait' }), 'CONFIG_ERROR', 'high', 'max_pending');
  refused(lane({ burst: 1 }), 'CONFIG_ERROR', 'high', 'rate_limit');
  refused(lane({ keyWeights: { '': 1 } }), 'CONFIG_ERROR', 'high', 'key_weights');
  refused(lane({ rateLimit: { maxCommands: 0, windowMs: 1 } }), 'CONFIG_ERROR', 'rate_limit.max_commands');
  refused(lane({ rateLimit: { maxCommands: 1, windowMs: 0 } }), 'CONFIG_ERROR', 'rate_limit.window');
  refused(lane({ priorityBoost: { deadlineMs: 0 } }), 'CONFIG_ERROR', 'priority_boost.deadline');
  refused(lane({ limiters: ['nope'] }), 'CONFIG_ERROR', 'high', 'nope');
  refused(lane({ limiters: ['a', 'b', 'c', 'd', 'e'] }), 'CONFIG_ERROR', 'high', 'limiters');
  refused(() => new Lane({ maxConcurrency: 5 }), 'CONFIG_ERROR', 'max_concurrency', '6');
});

test('l29_limiters_out_of_range_are_refused', () => {
  const numbers = { maxCommands: LARGE, burst: LARGE, reserve: LARGE, windowMs: TIME };
  for (const [field, values] of Object.entries(numbers)) {
    for (const value of values) refused(limiter({ [field]: value }), 'CONFIG_ERROR', "limiter 'tokens'", field);
  }
  refused(limiter({ reserve: 1, urgentUpTo: 256 }), 'CONFIG_ERROR', 'urgentUpTo', '0 to 255');
  refused(limiter({ urgentUpTo: 1 }), 'CONFIG_ERROR', 'urgentUpTo needs a reserve');
  refused(limiter({ algorithm: 'leaky' }), 'CONFIG_ERROR', 'algorithm', "'token_bucket', 'sliding_window'");
  refused(limiter({ maxCommands: 0 }), 'CONFIG_ERROR', 'max_commands');
  refused(limiter({ algorithm: 'sliding_window', burst: 1 }), 'CONFIG_ERROR', 'burst');
  refused(limiter({ reserve: 5 }), 'CONFIG_ERROR', 'reserve');
  refused(() => new Lane({ limiters: { '': { maxCommands: 1, windowMs: 1 } } }), 'CONFIG_ERROR', 'name');
  for (const maxConcurrency of [0, ...WHOLE]) {
    refused(() => new Lane({ maxConcurrency }), 'CONFIG_ERROR', 'maxConcurrency', '1 to 4294967295');
  }
});

test('l29_submit_options_out_of_range_are_refused', () => {
  const fields = {
    priority: [[0.5, NaN, 2147483648, -2147483649], '-2147483648 to 2147483647'],
    delayMs: [TIME, '0 to 4294967295'],
    ttlMs: [TIME, '0 to 4294967295'],
    timeoutMs: [TIME, '0 to 4294967295'],
    progressTimeoutMs: [TIME, '0 to 4294967295'],
    cost: [LARGE, '0 to 9007199254740991'],
    jitter: [['some'], "'none', 'full', 'equal'"],
    runAt: [[new Date(NaN)], 'a valid Date'],
  };
  for (const [field, [values, range]] of Object.entries(fields)) {
    for (const value of values) refused(enqueue({ [field]: value }), 'INVALID_ARGUMENT', `options.${field}`, range);
  }
  refused(enqueue({ retryPolicy: { maxRetries: -1 } }), 'INVALID_ARGUMENT', 'options.retryPolicy.maxRetries');
  refused(enqueue({ unique: { key: 'u', windowMs: -1 } }), 'INVALID_ARGUMENT', 'options.unique.windowMs');
  refused(enqueue({ unique: { key: 'u', onConflict: 'fight' } }), 'INVALID_ARGUMENT', 'onConflict', "'reject', 'join'");
  refused(enqueue({ timeoutMs: 1, noTimeout: true }), 'INVALID_ARGUMENT', 'options.timeoutMs and options.noTimeout');
  // What does not depend on the language has the core's text and code.
  refused(enqueue({ id: '' }), 'CONFIG_ERROR', 'submit options: id');
  refused(enqueue({ key: '' }), 'CONFIG_ERROR', 'submit options: key');
  refused(enqueue({ unique: '' }), 'CONFIG_ERROR', 'unique.key');
  refused(enqueue({ delayMs: 1, runAt: new Date() }), 'CONFIG_ERROR', 'delay and run_at');
  for (const field of ['ttlMs', 'timeoutMs', 'progressTimeoutMs']) {
    refused(enqueue({ [field]: 0 }), 'CONFIG_ERROR', 'longer than zero');
  }
  refused(() => new Lane().submit('query', 'x', null, { cost: -1 }), 'INVALID_ARGUMENT', 'options.cost');
});

test('l29_the_limits_themselves_are_fine', async () => {
  const most = 4294967295;
  const large = 2 ** 53 - 1;
  const queue = Lane.withLanes(
    [
      {
        laneId: 'a',
        priority: 0,
        maxPending: most,
        graceMs: most,
        progressTimeoutMs: most,
        maxConcurrencyPerKey: most,
        keyWeights: { gold: most, 'a.b': 1 },
        rateLimit: { maxCommands: large, windowMs: most },
        burst: large,
        priorityBoost: { deadlineMs: most, steps: [[0, 255], [most, 0]] },
        limiters: ['tokens'],
      },
    ],
    { maxConcurrency: most, limiters: { tokens: { maxCommands: large, windowMs: most, burst: large, reserve: 0 } } },
  );
  queue.start();
  const options = { priority: -2147483648, ttlMs: most, timeoutMs: most, progressTimeoutMs: most, cost: large, key: 'gold' };
  assert.equal(await queue.enqueue('a', 'x', '1', options), '1');
  const none = { priority: 2147483647, delayMs: 0, cost: 0, runAt: undefined, unique: null, metadata: {} };
  assert.equal(await queue.enqueue('a', 'x', '2', none), '2');
  queue.setMaxConcurrency(most);
});

test('run time settings out of range are refused', async () => {
  const queue = new Lane({ limiters: { tokens: { maxCommands: 1, windowMs: 1 } } });
  for (const total of WHOLE) refused(() => queue.setMaxConcurrency(total), 'INVALID_ARGUMENT', 'maxConcurrency', 'integer');
  refused(() => queue.setMaxConcurrency(5), 'CONFIG_ERROR', 'max_concurrency');
  refused(() => queue.setLane({ laneId: 'x', priority: 256 }), 'CONFIG_ERROR', "lane 'x'", 'priority');
  refused(() => queue.setLimiter('tokens', { maxCommands: -1, windowMs: 1 }), 'CONFIG_ERROR', "limiter 'tokens'");
  for (const name of ['pauseLane', 'resumeLane', 'cancelLane', 'removeLane']) {
    refused(() => queue[name]('nope'), 'LANE_NOT_FOUND', 'nope');
  }
  for (const timeout of TIME) {
    await assert.rejects(queue.shutdownWithin(timeout), { name: 'LaneError', code: 'INVALID_ARGUMENT' });
  }
  assert.equal(queue.snapshot().shuttingDown, false);
});

test('wrong types are TypeErrors that name the argument', async () => {
  const queue = new Lane();
  const number = ['maxPending', 'graceMs', 'progressTimeoutMs', 'maxConcurrencyPerKey', 'burst'];
  for (const field of number) wrongType(lane({ [field]: '1' }), `configs[0].${field} must be a number (got string)`);
  wrongType(lane({ preemptible: 1 }), 'configs[0].preemptible must be a boolean (got number)');
  wrongType(lane({ overflow: 1 }), 'configs[0].overflow must be a string');
  wrongType(lane({ retryJitter: 1 }), 'configs[0].retryJitter must be a string');
  wrongType(lane({ keyWeights: { gold: '1' } }), 'configs[0].keyWeights["gold"] must be a number');
  for (const weights of [[], new Map([['gold', 1]]), 'gold']) {
    wrongType(lane({ keyWeights: weights }), 'configs[0].keyWeights must be a plain object');
  }
  wrongType(lane({ rateLimit: { maxCommands: 1 } }), 'configs[0].rateLimit.windowMs must be a number');
  wrongType(lane({ rateLimit: { maxCommands: 1, windowMs: 1, burst: 1 } }), "'burst'");
  wrongType(lane({ priorityBoost: { steps: [] } }), 'configs[0].priorityBoost.deadlineMs must be a number');
  wrongType(lane({ priorityBoost: { deadlineMs: 1, steps: [[1]] } }), 'steps[0] must be a pair of numbers');
  wrongType(lane({ priorityBoost: { deadlineMs: 1, steps: [[1, '2']] } }), 'steps[0][1] must be a number');
  wrongType(lane({ limiters: 'tokens' }), 'configs[0].limiters must be an array');
  wrongType(lane({ limiters: [1] }), 'configs[0].limiters[0] must be a string');
  wrongType(() => new Lane({ maxConcurrency: '1' }), 'options.maxConcurrency must be a number');
  wrongType(() => new Lane({ limiters: [] }), 'options.limiters must be a plain object');
  wrongType(limiter({ windowMs: undefined }), 'options.limiters["tokens"].windowMs must be a number');
  wrongType(limiter({ countingCommands: 1 }), 'countingCommands must be a boolean');
  wrongType(limiter({ burts: 1 }), "'burts'", 'burst');
  const options = {
    id: [1, 'a string'],
    priority: ['1', 'a number'],
    delayMs: ['1', 'a number'],
    runAt: [Date.now(), 'a Date'],
    ttlMs: ['1', 'a number'],
    timeoutMs: ['1', 'a number'],
    noTimeout: [1, 'a boolean'],
    progressTimeoutMs: ['1', 'a number'],
    retryPolicy: [1, 'an object'],
    jitter: [1, 'a string'],
    key: [1, 'a string'],
    unique: [1, 'an object'],
    cost: [1n, 'a number'],
    metadata: [[], 'a plain object'],
    preemptible: ['no', 'a boolean'],
  };
  for (const [field, [value, expected]] of Object.entries(options)) {
    wrongType(enqueue({ [field]: value }), `options.${field} must be ${expected}`);
    wrongType(() => queue.submit('query', 'x', null, { [field]: value }), `options.${field} must be ${expected}`);
  }
  wrongType(enqueue({ metadata: { a: undefined } }), 'options.metadata["a"] must be a JSON value (got undefined)');
  wrongType(enqueue({ unique: { windowMs: 1 } }), 'options.unique.key must be a string');
  wrongType(enqueue({ timeoutMS: 1 }), "'timeoutMS'", 'timeoutMs');
  wrongType(enqueue(5), 'options must be an object');
  wrongType(() => queue.enqueue(1, 'x'), 'laneId must be a string');
  wrongType(() => queue.enqueue('query'), 'commandType must be a string');
  wrongType(() => queue.enqueue('query', 'x', {}), 'payload (JSON text) must be a string');
  wrongType(() => queue.submitMany('query', {}), 'commands must be an array');
  for (const name of ['cancel', 'cancelLane', 'cancelKey', 'pauseLane', 'resumeLane', 'pauseKey', 'resumeKey', 'removeLane']) {
    wrongType(() => queue[name](1), 'must be a string');
  }
  wrongType(() => queue.explain(), 'id must be a string');
  wrongType(() => queue.setLane(), 'config must be an object');
  wrongType(() => queue.setMaxConcurrency(), 'maxConcurrency must be a number (got undefined)');
  wrongType(() => queue.setLimiter('tokens'), 'limiter must be an object');
  await assert.rejects(queue.shutdownWithin('1'), { name: 'TypeError', message: /timeoutMs must be a number/ });
});
