'use strict';

// The Node package next to p-queue, fastq and bottleneck. Every round measures all of them, one after the other, so that
// what else happens on the machine meets all; the table has medians, and ratios of medians.
//
//   node bench/node/run.js [--rounds 7] [--commands 100000] [--row WORDS] [--json FILE]
//
// With --row, only rows whose name contains the words.

const fs = require('fs');
const path = require('path');

const { rows } = require('./rows.js');

function option(name, standard) {
  const index = process.argv.indexOf(`--${name}`);
  return index === -1 ? standard : process.argv[index + 1];
}

const rounds = Number(option('rounds', 7));
const commands = Number(option('commands', 100_000));
const only = option('row', '');
// A part of the rows does not replace the whole.
const json = option('json', only === '' ? path.join(__dirname, 'results.json') : undefined);

function median(values) {
  const sorted = values.slice().sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function verdict(budget, ours, ratio) {
  if (budget === undefined) return '';
  const met = budget.most === undefined ? ratio >= budget.ratio : ours <= budget.most;
  return met ? 'ok' : 'short';
}

async function main() {
  console.log(`Node ${process.version}, ${rounds} rounds of ${commands} commands, medians`);
  const results = [];
  for (const { name, unit, budget, contenders, rounds: most = rounds } of (await rows()).filter(({ name }) => name.includes(only))) {
    const samples = new Map(contenders.map(([contender]) => [contender, []]));
    // The first round warms up.
    for (let round = 0; round <= Math.min(rounds, most); round += 1) {
      for (const [contender, measure] of contenders) {
        globalThis.gc();
        const sample = await measure(commands);
        if (round > 0) samples.get(contender).push(sample);
      }
    }
    console.log(`\n${name} (${unit})`);
    const ours = median(samples.get('a3s-lane'));
    for (const [contender, values] of samples) {
      const value = median(values);
      const ratio = ours / value;
      const best = unit === 'per second' ? 'x' : 'times';
      const shown = unit === 'microseconds' ? value.toFixed(2) : Math.round(value).toLocaleString('en');
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const short = { 'per second': (value) => `${Math.round(value / 1000)}k`, bytes: Math.round, microseconds: (value) => value.toFixed(2) }[unit];
      const spread = `${short(low)}..${short(high)}`;
      const against = contender === 'a3s-lane' ? '' : `we are ${ratio.toFixed(2)} ${best} that`;
      const counts = budget !== undefined && contender === budget.against;
      console.log(`  ${contender.padEnd(24)} ${shown.padStart(10)}  ${spread.padEnd(14)} ${against} ${counts ? verdict(budget, ours, ratio) : ''}`.trimEnd());
    }
    results.push({ name, unit, budget, samples: Object.fromEntries(samples) });
  }
  if (json !== undefined) fs.writeFileSync(json, `${JSON.stringify({ node: process.version, rounds, commands, results }, null, 2)}\n`);
}

if (globalThis.gc === undefined) {
  // Each contender begins with an empty heap.
  const { status } = require('child_process').spawnSync(process.execPath, ['--expose-gc', ...process.argv.slice(1)], { stdio: 'inherit' });
  process.exit(status === null ? 1 : status);
}
main();
