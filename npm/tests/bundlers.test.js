'use strict';

// Bundled programs: the package goes into the bundle, the native file stays outside.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { installed } = require('./installed.js');
const { program } = require('./support.js');

/** Of whoever bundles; older versions of Node do not run it. */
const OLDEST_FOR_ESBUILD = 18;
const tooOld = Number(process.versions.node.split('.')[0]) < OLDEST_FOR_ESBUILD && `esbuild needs Node.js ${OLDEST_FOR_ESBUILD}`;

const PROGRAM = `
import { Lane, LaneError } from '@a3s-lab/lane';
import { createLane } from '@a3s-lab/lane/testing';

const lane = new Lane({ metrics: true });
lane.handle('double', async (n) => n * 2);
lane.start();
lane.submitAsync('query', 'double', 4).then((result) => {
  console.log(result, lane.metrics().counters['lane.commands.completed'], createLane() instanceof Lane);
  try {
    lane.handle('threads', { module: 'x.js' });
  } catch (error) {
    console.log(error instanceof LaneError, error.code, error.message.includes('external'));
  }
});
`;
const BUNDLED = '8 1 true\ntrue CONFIG_ERROR true\n';
const LEFT_OUT = '8 1 true\n';

function entry() {
  const file = path.join(installed(), 'app.mjs');
  fs.writeFileSync(file, PROGRAM);
  return file;
}

/** Runs the bundle, which must print this. */
async function prints(file, expected) {
  const { status, stdout, stderr } = await program(`require(${JSON.stringify(file)})`, { cwd: path.dirname(file) });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: expected, stderr: '' });
}

function esbuild(settings) {
  const { errors, warnings } = require('esbuild').buildSync({
    ...{ entryPoints: [entry()], bundle: true, platform: 'node', logLevel: 'silent', absWorkingDir: installed() },
    ...settings,
  });
  assert.deepEqual([errors, warnings], [[], []]);
}

test('esbuild, with the platform packages left out', { skip: tooOld }, async () => {
  const outfile = path.join(installed(), 'esbuild', 'external.cjs');
  esbuild({ outfile, external: ['@a3s-lab/lane-*'] });
  await prints(outfile, BUNDLED);
});

test('esbuild, with the native file copied', { skip: tooOld }, async () => {
  const outdir = path.join(installed(), 'copied');
  esbuild({ outdir, loader: { '.node': 'copy' }, outExtension: { '.js': '.cjs' } });
  assert.equal(fs.readdirSync(outdir).filter((name) => name.endsWith('.node')).length, 1);
  // Nothing is found from where it stands now but what was copied with it.
  const elsewhere = fs.mkdtempSync(path.join(require('os').tmpdir(), 'a3s-lane-bundle-'));
  process.on('exit', () => fs.rmSync(elsewhere, { recursive: true }));
  for (const name of fs.readdirSync(outdir)) fs.copyFileSync(path.join(outdir, name), path.join(elsewhere, name));
  await prints(path.join(elsewhere, 'app.cjs'), BUNDLED);
});

test('esbuild, with the package left out of an ES module', { skip: tooOld }, async () => {
  const outfile = path.join(installed(), 'esbuild', 'app.mjs');
  esbuild({ outfile, format: 'esm', external: ['@a3s-lab/lane'] });
  const { status, stdout, stderr } = await program(`import ${JSON.stringify(outfile)};`, { esm: true, cwd: installed() });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: LEFT_OUT, stderr: '' });
});

test('webpack, with the platform packages left out', async () => {
  const outfile = path.join(installed(), 'webpack', 'app.cjs');
  const compiler = require('webpack')({
    ...{ mode: 'production', target: 'node', context: installed(), entry: entry() },
    output: { path: path.dirname(outfile), filename: path.basename(outfile) },
    externals: [
      ({ request }, next) => {
        if (/^@a3s-lab\/lane-|\.node$/.test(request)) return next(null, `commonjs ${request}`);
        next();
      },
    ],
  });
  const stats = await new Promise((resolve, reject) => compiler.run((error, done) => (error ? reject(error) : resolve(done))));
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
  assert.deepEqual(errors, []);
  // The loader of the native file looks for it at run time, which webpack tells.
  for (const { moduleName, message } of warnings) assert.match(moduleName, /npm\/native\.js$/, message);
  await prints(outfile, BUNDLED);
});
