'use strict';

// Packs this package and the platform package of this machine as npm would publish them:
//   node npm/scripts/pack.js [folder]      default: target/npm
// With --all, as a release does, the packages of all platforms. Prints the paths of the tarballs. The native binaries must be in npm/.

const { spawnSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const { manifest, platforms, root } = require('./platforms.js');

const BINARIES = path.join(root, 'npm');

/** The platform package whose binary was built here. */
function built() {
  const found = platforms().filter(({ binary }) => fs.existsSync(path.join(BINARIES, binary)));
  if (found.length !== 1) {
    const names = found.map(({ binary }) => binary).join(', ') || 'none';
    throw new Error(`npm/ must hold exactly one native binary (found: ${names}); run npm run build`);
  }
  return found[0];
}

function pack(folder, out) {
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', out];
  const { status, stdout, stderr } = spawnSync('npm', args, {
    cwd: folder,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (status !== 0) throw new Error(`npm pack failed in ${folder}: ${stderr}`);
  return path.join(out, stdout.trim().split('\n').pop());
}

/** Packs a platform package with its binary, which is in the folder `binaries`. */
function packPlatform(platform, binaries, out) {
  const stage = fs.mkdtempSync(path.join(os.tmpdir(), 'a3s-lane-pack-'));
  try {
    const source = path.join(root, 'npm', 'platforms', platform.suffix);
    for (const name of fs.readdirSync(source)) fs.copyFileSync(path.join(source, name), path.join(stage, name));
    fs.copyFileSync(path.join(root, 'LICENSE'), path.join(stage, 'LICENSE'));
    fs.copyFileSync(path.join(binaries, platform.binary), path.join(stage, platform.binary));
    return pack(stage, out);
  } finally {
    fs.rmSync(stage, { recursive: true });
  }
}

/** Writes the tarballs to `out`; returns their paths, this package's first. */
function packAll(out, { all = false, binaries = BINARIES } = {}) {
  const packed = all ? platforms() : [built()];
  const missing = packed.filter(({ binary }) => !fs.existsSync(path.join(binaries, binary)));
  if (missing.length > 0) throw new Error(`no native binary: ${missing.map(({ binary }) => binary).join(', ')}`);
  fs.mkdirSync(out, { recursive: true });
  return [pack(root, out), ...packed.map((platform) => packPlatform(platform, binaries, out))];
}

module.exports = { built, manifest, packAll };

if (require.main === module) {
  const folders = process.argv.slice(2).filter((argument) => argument !== '--all');
  const out = path.resolve(folders[0] || path.join(root, 'target', 'npm'));
  for (const tarball of packAll(out, { all: process.argv.includes('--all') })) console.log(tarball);
}
