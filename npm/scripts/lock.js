'use strict';

// npm leaves out of package-lock.json the optional packages that it cannot fetch while it writes the file: ours before
// they are published, and binaries for other systems on a registry mirror without them. `npm ci` then refuses the file.
// Here the missing entries are added, with the system that their names tell, so that each machine skips what is not
// for it.

const NAME = /-(android|darwin|freebsd|linux|openharmony|win32|wasm32)-([a-z0-9]+)(?:-([a-z]+))?$/;
const CPUS = { universal: undefined, wasi: undefined };

function entryOf(name, version, dev) {
  const [, os, cpu, abi] = NAME.exec(name) || [];
  if (os === undefined) return undefined;
  const libc = { gnu: 'glibc', musl: 'musl' }[abi];
  return {
    version,
    ...(os === 'wasm32' ? { cpu: [os] } : cpu in CPUS ? {} : { cpu: [cpu] }),
    ...(dev && { dev: true }),
    ...(os === 'linux' && libc && { libc: [libc] }),
    optional: true,
    ...(os !== 'wasm32' && { os: [os] }),
  };
}

/** The `packages` of a lock file with an entry for each optional binary package that has none. */
function completed(packages) {
  const all = { ...packages };
  for (const { optionalDependencies = {}, dev } of Object.values(packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const key = `node_modules/${name}`;
      const entry = entryOf(name, version, dev);
      if (all[key] === undefined && entry !== undefined) all[key] = entry;
    }
  }
  return Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)));
}

module.exports = { completed };
