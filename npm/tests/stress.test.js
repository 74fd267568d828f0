'use strict';

// Many handlers at once, again and again: everything settles, and nothing is left.

const assert = require('node:assert/strict');
const { spawnSync } = require('child_process');
const path = require('path');
const test = require('node:test');

const ROUNDS = 16;

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
  // The first rounds load modules and grow pools. Garbage and free memory come and go, and what the allocator keeps is a step in one
  // round; a leak of 100 bytes for each command is 1 MiB in each round, so in the one in the middle as well, and in what stays.
  const grows = (name, allowance) => {
    const held = lines.slice(4).map((line) => line[name]);
    const steps = held.slice(1).map((now, n) => now - held[n]).sort((a, b) => a - b);
    const stays = Math.min(...held.slice(-4)) - Math.max(...held.slice(0, 3));
    return stays > allowance && steps[Math.floor(steps.length / 2)] > 0.3;
  };
  assert.ok(!grows('heap', 1), stdout);
  assert.ok(!grows('native', 5), stdout);
});
