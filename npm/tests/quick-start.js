'use strict';

// The Node snippets of the quick start that users read, word for word.

const BASIC = `const { Lane } = require('@a3s-lab/lane');

const lane = new Lane();   // default lanes: system, control, query, session, skill, prompt
lane.start();

// Submit schedules work in priority order. Returns JSON string result.
const result = JSON.parse(
  lane.submit('query', 'fetch_data', JSON.stringify({ url: 'https://api.example.com/data' }))
);

// Subscribe to lifecycle events
lane.subscribe((err, event) => {
  if (err) throw err;
  console.log(\`[\${event.timestamp}] \${event.key}\`);
});

// Shutdown
lane.shutdown();
lane.drain(30_000);
`;

const CUSTOM_LANES = `const { Lane } = require('@a3s-lab/lane');

const lane = Lane.withLanes([
  { laneId: 'high', priority: 0, minConcurrency: 1, maxConcurrency: 4 },
  { laneId: 'low',  priority: 1, minConcurrency: 1, maxConcurrency: 2 },
]);
lane.start();
`;

/** The same snippet as an ES module. */
function asModule(snippet) {
  return snippet.replace("const { Lane } = require('@a3s-lab/lane');", "import { Lane } from '@a3s-lab/lane';");
}

module.exports = { BASIC, CUSTOM_LANES, asModule };
