'use strict';

// What one pending command holds, in a process of its own; prints bytes of JavaScript's heap and of the whole process as JSON:
//
//   node --expose-gc bench/node/memory.js CONTENDER COMMANDS
//
// Each contender keeps all commands waiting, and the program keeps the promise (or the handle) of each, as `await Promise.all`
// does. The payload is a number.

const { contenders } = require('./waiting.js');

async function held() {
  // Twice: what the first one has freed may hold more.
  for (let n = 0; n < 3; n += 1) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, rss };
}

async function main() {
  const [, , name, count] = process.argv;
  const submit = await contenders[name]();
  // Grows pools and compiles.
  const kept = [submit(1_000)];
  const before = await held();
  kept.push(submit(Number(count)));
  const after = await held();
  const each = (field) => (after[field] - before[field]) / count;
  console.log(JSON.stringify({ heap: each('heap'), rss: each('rss'), kept: kept.length }));
  process.exit(0);
}

main();
