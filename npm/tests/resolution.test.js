'use strict';

// The types of the packed package are found, and are right, by each way in which TypeScript looks for them, with the oldest version
// that we promise and the one that builds this package.

const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { installed, run } = require('./installed.js');
const { root } = require('./support.js');

const PLAIN = `
import { Lane, LaneError, type CommandHandle } from '@a3s-lab/lane';
import { createLane } from '@a3s-lab/lane/testing';
const lane: Lane = createLane({ configs: [{ laneId: 'a', priority: 0 }] });
export const handle: CommandHandle<number> = lane.enqueue<number>('a', 'x', { n: 1 });
export const code: string = new LaneError('text', 'TIMEOUT').code;
// @ts-expect-error it would be any where nothing was found
lane.enqueue(1);
`;

const BOTH = ['esm.mts', 'cjs.cts'];
/** Versions, with what they know. `node` is how TypeScript looked before there were `exports`. */
const WAYS = {
  typescript: [
    { module: 'nodenext', moduleResolution: 'nodenext', files: BOTH },
    { module: 'esnext', moduleResolution: 'bundler' },
    { module: 'commonjs', moduleResolution: 'node10', ignoreDeprecations: '6.0' },
  ],
  'typescript-oldest': [
    { module: 'nodenext', moduleResolution: 'nodenext', files: BOTH },
    { module: 'node16', moduleResolution: 'node16' },
    { module: 'commonjs', moduleResolution: 'node' },
  ],
};

for (const [compiler, ways] of Object.entries(WAYS)) {
  const { version } = require(path.join(root, 'node_modules', compiler, 'package.json'));
  for (const { files = ['plain.ts'], ...options } of ways) {
    test(`TypeScript ${version} finds the types by ${options.moduleResolution}`, () => {
      const folder = fs.mkdtempSync(path.join(installed(), 'types-'));
      for (const name of BOTH) fs.copyFileSync(path.join(root, 'npm', 'tests', 'types', name), path.join(folder, name));
      fs.writeFileSync(path.join(folder, 'plain.ts'), PLAIN);
      const compilerOptions = { strict: true, noEmit: true, target: 'es2022', lib: ['es2022'], types: [], ...options };
      fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
      run(process.execPath, [path.join(root, 'node_modules', compiler, 'bin', 'tsc'), '--project', folder]);
    });
  }
}
