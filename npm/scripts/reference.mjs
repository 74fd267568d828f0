// Writes docs/node-reference.md from the doc comments and types of the package:
//   node npm/scripts/reference.mjs [--check]
// With --check it writes nothing and fails if the page is not what it would write.

import fs from 'fs';
import os from 'os';
import path from 'path';
import { fileURLToPath } from 'url';

import { Application } from 'typedoc';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const PAGE = path.join(root, 'docs', 'node-reference.md');

const HEAD = `# API reference for Node

Made from the types and doc comments by \`npm run reference\`; the tests compare. The guides are [a3s-lane for Node](node.md) and
[recipes](node-recipes.md).
`;

const MODULES = [
  ['index', '@a3s-lab/lane'],
  ['testing', '@a3s-lab/lane/testing'],
];

async function page() {
  const out = fs.mkdtempSync(path.join(os.tmpdir(), 'reference-'));
  const app = await Application.bootstrapWithPlugins({
    entryPoints: MODULES.map(([name]) => path.join(root, 'npm', `${name}.d.ts`)),
    tsconfig: path.join(root, 'npm', 'scripts', 'reference.tsconfig.json'),
    plugin: ['typedoc-plugin-markdown'],
    readme: 'none',
    outputs: [{ name: 'markdown', path: out }],
    outputFileStrategy: 'modules',
    hideBreadcrumbs: true,
    hidePageHeader: true,
    disableSources: true,
    expandObjects: true,
    parametersFormat: 'table',
    interfacePropertiesFormat: 'table',
    classPropertiesFormat: 'table',
    typeDeclarationFormat: 'table',
    logLevel: 'Warn',
    treatWarningsAsErrors: true,
  });
  const project = await app.convert();
  if (project === undefined || app.logger.hasWarnings()) throw new Error('the types have errors, or links that lead nowhere');
  await app.generateOutputs(project);
  const parts = MODULES.map(([name, title]) => {
    const text = fs.readFileSync(path.join(out, `${name}.md`), 'utf8');
    // Both modules on one page: their links too.
    return text.replace(/^# .*$/m, `# \`${title}\``).replace(/\]\((?:index|testing)\.md#/g, '](#');
  });
  fs.rmSync(out, { recursive: true });
  return [HEAD, ...parts].map((part) => part.trim()).join('\n\n') + '\n';
}

const text = await page();
if (!process.argv.includes('--check')) {
  fs.writeFileSync(PAGE, text);
} else if (!fs.existsSync(PAGE) || fs.readFileSync(PAGE, 'utf8') !== text) {
  console.error('docs/node-reference.md is not what the types say: npm run reference');
  process.exit(1);
}
