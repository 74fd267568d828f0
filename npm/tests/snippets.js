'use strict';

// Programs of the documentation. As a script, runs those of pages where the package is installed:
//   node npm/tests/snippets.js FOLDER PAGE...

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');

const { program, root } = require('./support.js');

/** The ```js blocks of a page. */
function blocks(page) {
  const text = fs.readFileSync(path.join(root, page), 'utf8');
  const found = [];
  for (const match of text.matchAll(/^```js\n([\s\S]*?)^```$/gm)) {
    const line = text.slice(0, match.index).split('\n').length;
    found.push({ code: match[1], line });
  }
  return found;
}

/** Runs a block in a folder: it must end by itself, write nothing to stderr, and print what its comments promise. */
async function run({ code }, cwd = root) {
  const esm = /^import /m.test(code);
  const { status, stdout, stderr } = await program(code, { esm, cwd });
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  const promised = [...code.matchAll(/\/\/ prints (.*)$/gm)].map((match) => match[1]);
  if (promised.length > 0) assert.deepEqual(stdout.trimEnd().split('\n'), promised);
}

module.exports = { blocks, run };

if (require.main === module) {
  const [folder, ...pages] = process.argv.slice(2);
  (async () => {
    for (const page of pages) {
      const found = blocks(page);
      assert.ok(found.length > 0, page);
      for (const block of found) {
        await run(block, path.resolve(folder));
        console.log(`${page}:${block.line} passed on Node.js ${process.version}`);
      }
    }
  })();
}
