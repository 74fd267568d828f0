'use strict';

// Runs every test file with the Node that runs this script:
//   node npm/tests/run.js [words that a file name must contain]
//
// A file that does not end within its limit is stopped, and what it did then is shown.

const { spawn, spawnSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

/** How long a file may take. Far more than any machine needs. */
const LIMIT_MS = 15 * 60 * 1000;
/** How long a process that hangs may take to say where it stands. */
const REPORT_MS = 10 * 1000;

const root = path.join(__dirname, '..', '..');
// Some tests let commands panic on purpose: one line each is enough.
const env = { ...process.env, RUST_BACKTRACE: '0' };

/** Node.js itself runs the files, shows them readably and stops what takes too long: from 20.11 on. */
function runTogether(files) {
  const options = ['--test', '--test-reporter=spec', `--test-timeout=${LIMIT_MS}`];
  const { status } = spawnSync(process.execPath, [...options, ...files], { stdio: 'inherit', cwd: root, env });
  return status ?? 1;
}

/** Older ones print TAP. One file after the other, so that a hang is seen at its test. */
async function runEach(files) {
  const sums = { pass: 0, fail: 0, skipped: 0 };
  let failed = 0;
  for (const file of files) {
    const began = Date.now();
    const { ok, output } = await runOne(file);
    for (const name of Object.keys(sums)) sums[name] += Number(new RegExp(`^# ${name} (\\d+)`, 'm').exec(output)?.[1] ?? 0);
    console.log(`${ok ? 'ok' : 'not ok'} - ${path.relative(root, file)} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    if (!ok) {
      failed += 1;
      console.log(output);
    }
  }
  console.log(`# files ${files.length}, failed ${failed}`);
  for (const [name, sum] of Object.entries(sums)) console.log(`# ${name} ${sum}`);
  return failed === 0 ? 0 : 1;
}

function runOne(file) {
  const reports = fs.mkdtempSync(path.join(os.tmpdir(), 'a3s-lane-report-'));
  const options = ['--report-on-signal', `--report-directory=${reports}`];
  const child = spawn(process.execPath, [...options, file], { stdio: ['ignore', 'pipe', 'pipe'], cwd: root, env });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    // On Windows nobody can be asked.
    if (process.platform !== 'win32') child.kill('SIGUSR2');
    setTimeout(() => child.kill('SIGKILL'), REPORT_MS);
  }, LIMIT_MS);
  return new Promise((resolve) => {
    child.on('error', (error) => (output += error));
    child.on('close', (status) => {
      clearTimeout(limit);
      if (late) output += `\n# stopped after ${LIMIT_MS / 1000} s\n${standing(reports)}`;
      fs.rmSync(reports, { recursive: true, force: true });
      resolve({ ok: status === 0 && !late, output });
    });
  });
}

/** Where the process stood: its stack, and what kept it alive. */
function standing(reports) {
  const [name] = fs.readdirSync(reports);
  if (name === undefined) return 'its main thread did not answer';
  const { javascriptStack, libuv } = JSON.parse(fs.readFileSync(path.join(reports, name), 'utf8'));
  const active = libuv.filter((handle) => handle.is_active !== false);
  return JSON.stringify({ javascriptStack, libuv: active }, null, 2);
}

async function main() {
  const words = process.argv.slice(2);
  const files = fs
    .readdirSync(__dirname)
    .filter((name) => /\.test\.m?js$/.test(name) && words.every((word) => name.includes(word)))
    .sort()
    .map((name) => path.join(__dirname, name));
  if (files.length === 0) {
    console.error('no test file fits');
    return 1;
  }
  const [major, minor] = process.versions.node.split('.').map(Number);
  return major > 20 || (major === 20 && minor >= 11) ? runTogether(files) : runEach(files);
}

main().then((status) => {
  process.exitCode = status;
});
