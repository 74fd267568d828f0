'use strict';

// What makes the storage of another process fail: a full disk, and calls of the operating system that do. Where it cannot be had, `skip`
// says why.

const assert = require('node:assert/strict');
const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const { root } = require('./support.js');

const SOURCE = path.join(root, 'crates', 'a3s-lane', 'tests', 'storage', 'faults', 'fail_calls.c');

/** What no small disk takes. */
const LARGE = 64 * 1024 * 1024;

/** A test cannot be made here; where none may be left out, that is a failure. */
function skipped(skip) {
  if (process.env.A3S_LANE_SKIP_NOTHING) throw new Error(skip);
  return { skip };
}

/** The library that is preloaded, which the suites of all languages share; compiled when it is older than its source. */
function library() {
  if (process.platform !== 'linux') return { skip: 'calls are made to fail by LD_PRELOAD' };
  const target = path.join(root, 'target', 'faults');
  const compiled = path.join(target, 'fail_calls.so');
  if (fs.existsSync(compiled) && fs.statSync(compiled).mtimeMs > fs.statSync(SOURCE).mtimeMs) return { library: compiled };
  fs.mkdirSync(target, { recursive: true });
  const own = path.join(target, `fail_calls.${process.pid}.so`);
  const { status, error, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', own, SOURCE, '-ldl'], { encoding: 'utf8' });
  if (status !== 0) return skipped(`there is no C compiler: ${error || stderr}`);
  fs.renameSync(own, compiled);
  return { library: compiled };
}

/** Takes all the space of a small disk but so many bytes. */
function fill(filler, left = 0) {
  const file = fs.openSync(filler, 'w');
  let taken = 0;
  try {
    while (taken < LARGE) taken += fs.writeSync(file, Buffer.alloc(65536, 1));
  } catch (error) {
    assert.equal(error.code, 'ENOSPC');
  }
  assert.ok(taken < LARGE, 'it is no small disk');
  fs.ftruncateSync(file, Math.max(0, taken - left));
  fs.closeSync(file);
}

/**
 * Mounts a file system in memory, by default of a megabyte. `readOnly` lets nothing be written any more; no file may be open for
 * writing.
 */
function smallDisk(directory, size = '1m') {
  fs.mkdirSync(directory);
  let said;
  // It takes root, which a hosted CI has by `sudo`.
  for (const by of process.env.CI ? [[], ['sudo', '-n']] : [[]]) {
    const run = (...words) => {
      const [program, ...args] = [...by, ...words, directory];
      return spawnSync(program, args, { encoding: 'utf8' });
    };
    const { status, error, stderr } = run('mount', '-t', 'tmpfs', '-o', `size=${size},mode=777`, 'tmpfs');
    const readOnly = () => {
      const remounted = run('mount', '-o', 'remount,ro');
      if (remounted.status !== 0) throw new Error(remounted.stderr);
    };
    if (status === 0) return { readOnly, unmount: () => run('umount', '-l') };
    said = error || stderr;
  }
  return skipped(`a file system cannot be mounted here: ${said}`);
}

module.exports = { fill, library, smallDisk };
