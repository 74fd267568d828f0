'use strict';

// Packs this package and the platform package of this machine as npm would publish them:
//   node npm/scripts/pack.js [folder]      default: target/npm
// Prints the paths of the two tarballs. The native binary must have been built before.

const { spawnSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const { manifest, platforms, root } = require('./platforms.js');

/** The platform package whose binary was built here. */
function built() {
  const found = platforms().filter(({ binary }) => fs.existsSync(path.join(root, 'npm', binary)));
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

/** Writes the tarballs to `out`; returns their paths, this package's first. */
function packAll(out) {
  fs.mkdirSync(out, { recursive: true });
  const platform = built();
  const stage = fs.mkdtempSync(path.join(os.tmpdir(), 'a3s-lane-pack-'));
  try {
    const source = path.join(root, 'npm', 'platforms', platform.suffix);
    for (const name of fs.readdirSync(source)) fs.copyFileSync(path.join(source, name), path.join(stage, name));
    fs.copyFileSync(path.join(root, 'LICENSE'), path.join(stage, 'LICENSE'));
    fs.copyFileSync(path.join(root, 'npm', platform.binary), path.join(stage, platform.binary));
    return [pack(root, out), pack(stage, out)];
  } finally {
    fs.rmSync(stage, { recursive: true });
  }
}

module.exports = { built, manifest, packAll };

if (require.main === module) {
  const out = path.resolve(process.argv[2] || path.join(root, 'target', 'npm'));
  for (const tarball of packAll(out)) console.log(tarball);
}
