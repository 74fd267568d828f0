import assert from 'node:assert/strict';
import test from 'node:test';

import quickStart from './quick-start.js';
import support from './support.js';

const { BASIC, CUSTOM_LANES, asModule } = quickStart;

// After the snippet: what it obviously omits is a look at the result.
const SHOW_RESULT = 'console.log(JSON.stringify(result));';
const EVENT = /^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00\] (queue\..+)$/;

function check({ status, signal, stdout, stderr }) {
  assert.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: '' });
  const [result, ...events] = stdout.trim().split('\n');
  assert.deepEqual(JSON.parse(result), { url: 'https://api.example.com/data' });
  assert.deepEqual(
    events.map((line) => EVENT.exec(line)[1]),
    ['queue.shutdown.started', 'queue.shutdown.complete'],
  );
}

test('the basic snippet runs word for word', async () => {
  check(await support.program(BASIC + SHOW_RESULT));
});

test('the basic snippet runs as an ES module', async () => {
  check(await support.program(asModule(BASIC) + SHOW_RESULT, { esm: true }));
});

for (const esm of [false, true]) {
  test(`the custom lanes snippet runs ${esm ? 'as an ES module' : 'word for word'}`, async () => {
    const code = `${esm ? asModule(CUSTOM_LANES) : CUSTOM_LANES}
      console.log(lane.submit('low', 'echo', '1'));
      console.log(JSON.stringify(lane.stats().lanes.map((status) => [status.laneId, status.maxConcurrency])));`;
    const { status, stdout, stderr } = await support.program(code, { esm });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
    assert.equal(stdout, '1\n[["high",4],["low",2]]\n');
  });
}
