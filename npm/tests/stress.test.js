'use strict';

// Many handlers at once, again and again: everything settles, and nothing is left.

const assert = require('node:assert/strict');
const { spawnSync } = require('child_process');
const path = require('path');
const test = require('node:test');

const ROUNDS = 10;

test('rounds of ten thousand handlers leave nothing', { skip: process.platform !== 'linux' && 'it reads /proc' }, () => {
  const args = ['--expose-gc', path.join(__dirname, 'stress.js'), String(ROUNDS)];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 300_000,
    // Few arenas: what the allocator keeps for threads that have ended is no leak.
    env: { ...process.env, MALLOC_ARENA_MAX: '2' },
  });
  assert.equal(status, 0, stderr);
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line));
  const { leftFiles } = lines.pop();
  assert.equal(lines.length, ROUNDS);
  assert.equal(leftFiles, 0);
  const last = lines[ROUNDS - 1];
  assert.deepEqual(last.handles, []);
  // The first rounds load modules and grow pools. A leak of 100 bytes for each command would be 4 MiB by then.
  assert.ok(last.heap <= lines[4].heap + 1, stdout);
  assert.ok(last.rss <= Math.max(...lines.slice(4, 7).map(({ rss }) => rss)) + 8, stdout);
});
