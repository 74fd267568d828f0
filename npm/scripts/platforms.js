'use strict';

// Writes what must agree about the platform packages, from the version and the targets in package.json: their folders
// under npm/platforms, the optional dependencies, and their entries in package-lock.json. With --check it writes nothing
// and fails if something differs.

const fs = require('fs');
const path = require('path');

const { completed } = require('./lock.js');

const root = path.join(__dirname, '..', '..');
const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));

const SYSTEMS = {
  'unknown-linux-gnu': { os: 'linux', abi: 'gnu', libc: 'glibc' },
  'unknown-linux-musl': { os: 'linux', abi: 'musl', libc: 'musl' },
  'apple-darwin': { os: 'darwin' },
  'pc-windows-msvc': { os: 'win32', abi: 'msvc' },
};
const CPUS = { x86_64: 'x64', aarch64: 'arm64' };

/** The platform packages: `suffix` is `linux-x64-gnu`, `target` the Rust target. */
function platforms() {
  return manifest.napi.targets.map((target) => {
    const [arch] = target.split('-');
    const { os, abi, libc } = SYSTEMS[target.slice(arch.length + 1)];
    const cpu = CPUS[arch];
    const suffix = [os, cpu, abi].filter(Boolean).join('-');
    const binary = `${manifest.napi.binaryName}.${suffix}.node`;
    return { target, suffix, name: `${manifest.name}-${suffix}`, binary, os, cpu, libc };
  });
}

function json(value) {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function packageOf({ name, suffix, target, binary, os, cpu, libc }) {
  return {
    name,
    version: manifest.version,
    description: `Native half of ${manifest.name} for ${target}`,
    license: manifest.license,
    author: manifest.author,
    homepage: manifest.homepage,
    repository: { ...manifest.repository, directory: `npm/platforms/${suffix}` },
    engines: manifest.engines,
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
    main: binary,
    files: [binary],
  };
}

function readmeOf({ name, target }) {
  return `# ${name}\n\nThe native half of \`${manifest.name}\` for ${target}. Install \`${manifest.name}\`: it brings this package along.\n`;
}

function lockOf({ os, cpu, libc }) {
  return {
    version: manifest.version,
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
    license: manifest.license,
    optional: true,
    os: [os],
    engines: manifest.engines,
  };
}

/** What the files should hold, by path from the root. */
function wanted() {
  const all = platforms();
  const files = new Map();
  for (const platform of all) {
    files.set(`npm/platforms/${platform.suffix}/package.json`, json(packageOf(platform)));
    files.set(`npm/platforms/${platform.suffix}/README.md`, readmeOf(platform));
  }
  const optionalDependencies = Object.fromEntries(all.map(({ name }) => [name, manifest.version]).sort());
  files.set('package.json', json({ ...manifest, optionalDependencies }));

  const lock = JSON.parse(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  lock.version = manifest.version;
  const { '': self, ...others } = lock.packages;
  const entries = Object.entries(others).filter(([name]) => !name.startsWith(`node_modules/${manifest.name}-`));
  entries.push(...all.map((platform) => [`node_modules/${platform.name}`, lockOf(platform)]));
  const { optionalDependencies: _, ...rest } = self;
  const packages = completed({
    '': { ...rest, version: manifest.version, optionalDependencies },
    ...Object.fromEntries(entries),
  });
  files.set('package-lock.json', json({ ...lock, packages }));
  return files;
}

/** Paths of the files that are not as they should be. */
function outdated() {
  return [...wanted()].filter(([file, text]) => {
    const full = path.join(root, file);
    return !fs.existsSync(full) || fs.readFileSync(full, 'utf8') !== text;
  });
}

module.exports = { manifest, outdated, platforms, root };

if (require.main === module) {
  const stale = outdated();
  if (process.argv.includes('--check')) {
    for (const [file] of stale) console.error(`${file} does not fit package.json: run npm run platforms`);
    process.exitCode = stale.length > 0 ? 1 : 0;
  } else {
    for (const [file, text] of stale) {
      fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
      fs.writeFileSync(path.join(root, file), text);
      console.log(`wrote ${file}`);
    }
  }
}
