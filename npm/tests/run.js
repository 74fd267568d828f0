'use strict';

// Runs every test file with the Node that runs this script:
//   node npm/tests/run.js [words that a file name must contain]

const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const words = process.argv.slice(2);
const files = fs
  .readdirSync(__dirname)
  .filter((name) => /\.test\.m?js$/.test(name) && words.every((word) => name.includes(word)))
  .sort()
  .map((name) => path.join(__dirname, name));

if (files.length === 0) {
  console.error('no test file fits');
  process.exit(1);
}
const root = path.join(__dirname, '..', '..');
// The readable reporter exists from Node 18.15 and 20 on; older ones print TAP.
const reporter = Number(process.versions.node.split('.')[0]) >= 20 ? ['--test-reporter=spec'] : [];
const { status } = spawnSync(process.execPath, ['--test', ...reporter, ...files], {
  stdio: 'inherit',
  cwd: root,
  // Some tests let commands panic on purpose: one line each is enough.
  env: { ...process.env, RUST_BACKTRACE: '0' },
});
process.exit(status === null ? 1 : status);
