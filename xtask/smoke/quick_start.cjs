'use strict';

// The quick start, run where nothing but the package is installed.

const assert = require('assert');
const { Lane } = require('@a3s-lab/lane');

const lane = new Lane();   // default lanes: system, control, query, session, skill, prompt
lane.start();

// Submit schedules work in priority order. Returns JSON string result.
const result = JSON.parse(
  lane.submit('query', 'fetch_data', JSON.stringify({ url: 'https://api.example.com/data' }))
);
assert.deepStrictEqual(result, { url: 'https://api.example.com/data' });

// Subscribe to lifecycle events
const keys = [];
lane.subscribe((err, event) => {
  if (err) throw err;
  console.log(`[${event.timestamp}] ${event.key}`);
  keys.push(event.key);
});

// Shutdown
lane.shutdown();
lane.drain(30_000);

const custom = Lane.withLanes([
  { laneId: 'high', priority: 0, minConcurrency: 1, maxConcurrency: 4 },
  { laneId: 'low',  priority: 1, minConcurrency: 1, maxConcurrency: 2 },
]);
custom.start();
assert.strictEqual(custom.submit('low', 'echo', '1'), '1');
custom.shutdown();

// The process ends by itself, and by then the subscription has delivered.
process.on('exit', () => {
  assert.ok(keys.includes('queue.shutdown.complete'), `events: ${keys}`);
  console.log(`quick start passed on Node.js ${process.version} as CommonJS`);
});
