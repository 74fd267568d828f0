'use strict';

const assert = require('node:assert/strict');
const { spawnSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const { packAll } = require('../scripts/pack.js');

function run(command, args, options) {
  const windows = process.platform === 'win32';
  const result = spawnSync(command, args, { encoding: 'utf8', shell: windows && command === 'npm', ...options });
  assert.equal(result.status, 0, `${command} ${args.join(' ')}: ${result.stdout}\n${result.stderr}`);
  return result.stdout;
}

/** The package and this machine's platform package, installed from tarballs into an otherwise empty folder. */
let place;
function installed() {
  if (place === undefined) {
    place = fs.mkdtempSync(path.join(os.tmpdir(), 'a3s-lane-install-'));
    process.on('exit', () => fs.rmSync(place, { recursive: true }));
    const tarballs = packAll(path.join(place, 'tarballs'));
    fs.writeFileSync(path.join(place, 'package.json'), '{ "private": true }\n');
    // Offline: nothing may come from elsewhere, and the packages for other systems may be missing.
    run('npm', ['install', '--silent', '--offline', '--no-package-lock', ...tarballs], { cwd: place });
  }
  return place;
}

module.exports = { installed, run };
