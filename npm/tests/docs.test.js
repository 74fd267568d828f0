'use strict';

// Each ```js block of the documentation is a program. It must end by itself, write nothing to stderr, and print the
// lines that its comments promise: `// prints text`.

const assert = require('node:assert/strict');
const test = require('node:test');

const { blocks, run } = require('./snippets.js');

const PAGES = ['docs/node.md', 'docs/node-recipes.md', 'README.md'];

for (const page of PAGES) {
  const found = blocks(page);
  test(`${page} has examples`, () => assert.ok(found.length > 0));
  for (const block of found) test(`${page}:${block.line}`, () => run(block));
}
