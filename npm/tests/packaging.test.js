'use strict';

const assert = require('node:assert/strict');
const fs = require('fs');
const os = require('os');
const path = require('path');
const test = require('node:test');

const { built, manifest, packAll } = require('../scripts/pack.js');
const { outdated, platforms } = require('../scripts/platforms.js');
const { installed, run } = require('./installed.js');
const { BASIC, CUSTOM_LANES, asModule } = require('./quick-start.js');
const { program, root } = require('./support.js');

test('the files that name versions and platforms agree', () => {
  assert.deepEqual(outdated().map(([file]) => file), []);
  const cargo = fs.readFileSync(path.join(root, 'Cargo.toml'), 'utf8');
  assert.equal(/\[workspace\.package\]\s+version = "([^"]+)"/.exec(cargo)[1], manifest.version);
});

test('eight platform packages of exactly this version are optional dependencies', () => {
  const names = ['darwin-arm64', 'darwin-x64', 'linux-arm64-gnu', 'linux-arm64-musl', 'linux-x64-gnu', 'linux-x64-musl'];
  names.push('win32-arm64-msvc', 'win32-x64-msvc');
  const expected = Object.fromEntries(names.map((name) => [`@a3s-lab/lane-${name}`, manifest.version]));
  assert.deepEqual(manifest.optionalDependencies, expected);
});

test('the generated loader knows each platform package', () => {
  const loader = fs.readFileSync(path.join(root, 'npm', 'native.js'), 'utf8');
  for (const { name, binary } of platforms()) {
    assert.ok(loader.includes(`require('./${binary}')`), binary);
    assert.ok(loader.includes(`require('${name}')`), name);
  }
  assert.ok(!loader.includes(root), 'the loader names a folder of this machine');
});

const LIBRARY = [
  ...['abort', 'alerts', 'alive', 'bridge', 'calls', 'check', 'context', 'error', 'events', 'handle', 'json', 'kept', 'lane'],
  ...['letters', 'middleware', 'settings', 'slot', 'subscription', 'worker', 'workers'],
].map((name) => `${name}.js`);

test('the package holds its entry, its types and nothing else', () => {
  const modules = path.join(installed(), 'node_modules', '@a3s-lab');
  assert.deepEqual(fs.readdirSync(modules).sort(), ['lane', path.basename(built().name)]);
  const list = (folder) =>
    fs
      .readdirSync(folder, { withFileTypes: true })
      .flatMap((entry) =>
        entry.isDirectory() ? list(path.join(folder, entry.name)).map((name) => `${entry.name}/${name}`) : [entry.name],
      );
  const expected = ['LICENSE', 'README.md', 'package.json'];
  const entry = ['index.d.mts', 'index.d.ts', 'index.js', 'index.mjs', 'native.d.ts', 'native.js'];
  entry.push('testing.d.mts', 'testing.d.ts', 'testing.js', 'testing.mjs');
  for (const concept of ['error', 'event', 'handle', 'handler', 'lane', 'settings', 'state', 'storage']) entry.push(`${concept}.d.ts`);
  entry.push(...LIBRARY.map((name) => `lib/${name}`));
  expected.push(...entry.map((name) => `npm/${name}`));
  assert.deepEqual(list(path.join(modules, 'lane')).sort(), expected.sort());
  assert.deepEqual(
    list(path.join(modules, path.basename(built().name))).sort(),
    ['LICENSE', 'README.md', built().binary, 'package.json'].sort(),
  );
});

test('a release packs every platform package with its binary and the licence', () => {
  const place = fs.mkdtempSync(path.join(os.tmpdir(), 'a3s-lane-all-'));
  try {
    const [missing, ...others] = platforms();
    for (const { binary } of others) fs.writeFileSync(path.join(place, binary), binary);
    const tarballs = path.join(place, 'tarballs');
    const options = { all: true, binaries: place };
    assert.throws(() => packAll(tarballs, options), { message: `no native binary: ${missing.binary}` });
    fs.writeFileSync(path.join(place, missing.binary), missing.binary);
    const [, ...packed] = packAll(tarballs, options);
    assert.equal(packed.length, 8);
    packed.forEach((tarball, number) => {
      const held = run('tar', ['-tzf', path.basename(tarball)], { cwd: tarballs }).trim().split(/\r?\n/);
      const expected = ['LICENSE', 'README.md', platforms()[number].binary, 'package.json'];
      assert.deepEqual(held.sort(), expected.map((name) => `package/${name}`).sort());
    });
  } finally {
    fs.rmSync(place, { recursive: true });
  }
  const workflow = fs.readFileSync(path.join(root, '.github', 'workflows', 'release.yml'), 'utf8');
  assert.ok(workflow.includes('node npm/scripts/pack.js --all tarballs'));
});

for (const esm of [false, true]) {
  const kind = esm ? 'an ES module' : 'CommonJS';
  test(`l22_the_packed_package_runs_the_quick_start_as_${esm ? 'esm' : 'cjs'}`, async () => {
    const snippet = esm ? asModule(BASIC) : BASIC;
    const { status, stdout, stderr } = await program(snippet, { esm, cwd: installed() });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' }, kind);
    assert.match(stdout, /queue\.shutdown\.complete\n$/);
    const custom = await program(esm ? asModule(CUSTOM_LANES) : CUSTOM_LANES, { esm, cwd: installed() });
    assert.deepEqual({ status: custom.status, stderr: custom.stderr }, { status: 0, stderr: '' }, kind);
  });
}

test('l22_the_packed_package_runs_handlers_here_and_in_threads', async () => {
  const module = path.join(installed(), 'double.mjs');
  fs.writeFileSync(module, 'export default (n) => n * 2;');
  const code = `
    import { Lane } from '@a3s-lab/lane';
    const lane = new Lane();
    lane.handle('greet', async ({ name }) => ({ hello: name }));
    lane.handle('double', { module: ${JSON.stringify(module)}, threads: 1 });
    lane.start();
    console.log(JSON.stringify(await lane.submitAsync('query', 'greet', { name: 'Ann' })));
    console.log(await lane.submitAsync('query', 'double', 4));`;
  const { status, stdout, stderr } = await program(code, { esm: true, cwd: installed() });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '{"hello":"Ann"}\n8\n', stderr: '' });
});

test('l22_the_names_in_the_documentation_exist_in_the_packed_package', async () => {
  const code = `
    import * as esm from '@a3s-lab/lane';
    import * as testing from '@a3s-lab/lane/testing';
    import { createRequire } from 'module';
    const require = createRequire(process.cwd() + '/');
    const cjs = require('@a3s-lab/lane');
    console.log(JSON.stringify([
      Object.keys(cjs), Object.keys(esm).sort(), Object.keys(testing).sort(),
      cjs.Lane === esm.Lane, cjs.LaneError === esm.LaneError,
      require('@a3s-lab/lane/package.json').version,
    ]));`;
  const { stdout, stderr } = await program(code, { esm: true, cwd: installed() });
  assert.equal(stderr, '');
  assert.deepEqual(JSON.parse(stdout), [
    ['Lane', 'LaneError', 'inspect'],
    ['Lane', 'LaneError', 'default', 'inspect'],
    [
      ...['ManualClock', 'SubmissionLog', 'createLane', 'default', 'drainNow', 'enqueueScripted'],
      ...['submitManyScripted', 'submitScripted'],
    ],
    true,
    true,
    manifest.version,
  ]);
});

test('l22_the_packed_types_compile', () => {
  const types = path.join(root, 'npm', 'tests', 'types');
  for (const name of ['esm.mts', 'cjs.cts']) fs.copyFileSync(path.join(types, name), path.join(installed(), name));
  const config = JSON.parse(fs.readFileSync(path.join(types, 'tsconfig.json'), 'utf8'));
  config.files = ['esm.mts', 'cjs.cts'];
  fs.writeFileSync(path.join(installed(), 'tsconfig.json'), JSON.stringify(config));
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  run(process.execPath, [tsc, '--project', installed()]);
});

test('without its platform package, the package says what is missing', async () => {
  const folder = path.join(installed(), 'node_modules', '@a3s-lab', path.basename(built().name));
  const aside = path.join(installed(), 'aside');
  fs.renameSync(folder, aside);
  try {
    const { status, stderr } = await program("require('@a3s-lab/lane')", { cwd: installed() });
    assert.equal(status, 1);
    assert.match(stderr, /Cannot find native binding/);
    assert.ok(stderr.includes(built().name), stderr);
  } finally {
    fs.renameSync(aside, folder);
  }
});
