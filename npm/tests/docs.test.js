'use strict';

// Each ```js block of the documentation is a program. It must end by itself, write nothing to stderr, and print the
// lines that its comments promise: `// prints text`.

const assert = require('node:assert/strict');
const fs = require('fs');
const path = require('path');
const test = require('node:test');

const { program, root } = require('./support.js');

const PAGES = ['docs/node.md', 'docs/node-recipes.md', 'README.md'];

function blocks(page) {
  const text = fs.readFileSync(path.join(root, page), 'utf8');
  const found = [];
  for (const match of text.matchAll(/^```js\n([\s\S]*?)^```$/gm)) {
    const line = text.slice(0, match.index).split('\n').length;
    found.push({ code: match[1], line });
  }
  return found;
}

for (const page of PAGES) {
  const found = blocks(page);
  test(`${page} has examples`, () => assert.ok(found.length > 0));
  for (const { code, line } of found) {
    test(`${page}:${line}`, async () => {
      const esm = /^import /m.test(code);
      const { status, stdout, stderr } = await program(code, { esm });
      assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
      const promised = [...code.matchAll(/\/\/ prints (.*)$/gm)].map((match) => match[1]);
      if (promised.length > 0) assert.deepEqual(stdout.trimEnd().split('\n'), promised);
    });
  }
}
