'use strict';

// What several test files need: waiting for a condition, recording events, directories for storages, and running a program in a
// process of its own.

const { spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const { Lane } = require('@a3s-lab/lane');

const root = path.join(__dirname, '..', '..');

/** How long a condition may take. Far more than any machine needs. */
const PATIENCE_MS = 30000;

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until `look` returns something truthy, and returns that. */
async function eventually(look, what = look, patienceMs = PATIENCE_MS) {
  const end = Date.now() + patienceMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`never came true: ${what}`);
    await sleep(2);
  }
}

/** The events of `lane` from now on. `done()` waits for the end of the stream and returns them. */
function record(lane, keys) {
  const events = [];
  const take = (error, event) => {
    if (error) throw error;
    events.push(event);
  };
  const subscription = keys === undefined ? lane.subscribe(take) : lane.subscribeFiltered(keys, take);
  const done = async () => {
    await eventually(() => subscription.closed, 'the subscription ended');
    return events;
  };
  return { events, subscription, done, keys: () => events.map((event) => event.key) };
}

const directories = [];
process.on('exit', () => directories.forEach((each) => fs.rmSync(each, { recursive: true, force: true })));

/** A directory that is there until this process ends. */
function temporary() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'a3s-lane-'));
  directories.push(directory);
  return directory;
}

/** A lane of one in a directory. */
function one(storage, options) {
  return Lane.withLanes([{ laneId: 'one', priority: 0, maxConcurrency: 1 }], { storage, ...options });
}

/**
 * Runs `code` as a program of its own, in the package's folder so that `@a3s-lab/lane` is this package.
 * Resolves to its status, signal, stdout and stderr; a program that does not end is killed and rejects.
 */
function program(code, { esm = false, node = process.execPath, cwd = root, args = [] } = {}) {
  const kind = esm ? ['--input-type=module'] : [];
  return new Promise((resolve, reject) => {
    const child = spawn(node, [...args, ...kind, '-e', code], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data) => (stdout += data));
    child.stderr.on('data', (data) => (stderr += data));
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the program never ended; it printed:\n${stdout}\n${stderr}`));
    }, PATIENCE_MS * 2);
    child.on('error', reject);
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, stdout, stderr });
    });
  });
}

module.exports = { PATIENCE_MS, eventually, one, program, record, root, sleep, temporary };
