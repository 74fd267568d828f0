'use strict';

// Runs the tests on the oldest Node that the package supports, on the newest one that the registry has, and on the one
// that runs this script:
//   node npm/scripts/nodes.js [words that a test file's name must contain]
// The other two come as packages into target/nodes; where there is none for this machine, they are left out with a note.

const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const { root } = require('./platforms.js');

const WANTED = ['16', 'latest'];

/** The path of a Node of that version, or undefined when it cannot be had. */
function install(version) {
  const prefix = path.join(root, 'target', 'nodes', version);
  const name = `node-${process.platform}-${process.arch}`;
  fs.mkdirSync(prefix, { recursive: true });
  fs.writeFileSync(path.join(prefix, 'package.json'), '{ "private": true }\n');
  const args = ['install', '--silent', '--no-save', '--no-package-lock', '--prefix', prefix, `${name}@${version}`];
  spawnSync('npm', args, { stdio: 'inherit', cwd: prefix, shell: process.platform === 'win32' });
  const binary = path.join(prefix, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  return fs.existsSync(binary) ? binary : undefined;
}

let failed = false;
function run(node) {
  const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  console.log(`# Node ${String(stdout).trim()}`);
  const tests = path.join(root, 'npm', 'tests', 'run.js');
  const { status } = spawnSync(node, [tests, ...process.argv.slice(2)], { stdio: 'inherit' });
  failed = failed || status !== 0;
}

run(process.execPath);
for (const version of WANTED) {
  const node = install(version);
  if (node === undefined) console.log(`# Node ${version} is not at hand for ${process.platform} ${process.arch}`);
  else run(node);
}
process.exitCode = failed ? 1 : 0;
