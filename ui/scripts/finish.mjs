/** After a build: each file compressed beside itself, the modules of each page listed for the server, too many bytes refused; with `sizes`, and where there are too many, they are told by page. */

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const FOLDER = process.argv[2];
/** Gzipped, in KB of 1,024 bytes. */
const BUDGETS = { 'shell and Runs': 60, 'all pages': 150 };
const read = (name) => JSON.parse(readFileSync(join(FOLDER, '.vite', name), 'utf8'));

const manifest = read('manifest.json');
/** Page → its file. */
const pages = read('pages.json');
rmSync(join(FOLDER, '.vite'), { recursive: true });

const sizes = new Map();
for (const name of readdirSync(FOLDER, { recursive: true })) {
  if (!/\.(js|css|html|svg)$/.test(name)) continue;
  const bytes = readFileSync(join(FOLDER, name));
  const zipped = gzipSync(bytes, { level: 9 });
  sizes.set(name, zipped.length);
  writeFileSync(join(FOLDER, `${name}.gz`), zipped);
  const quality = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
  writeFileSync(join(FOLDER, `${name}.br`), brotliCompressSync(bytes, { params: quality }));
}

/** A chunk and all that is loaded with it. */
function closure(key, found = new Set()) {
  const chunk = manifest[key];
  if (!chunk || found.has(chunk.file)) return found;
  found.add(chunk.file);
  for (const style of chunk.css ?? []) found.add(style);
  for (const asset of chunk.assets ?? []) found.add(asset);
  for (const other of chunk.imports ?? []) closure(other, found);
  return found;
}

const sum = (names) => [...names].reduce((total, name) => total + (sizes.get(name) ?? 0), 0);
// The styles are one file: index.html names it and the icon, the manifest of its modules does not.
const styles = [...sizes.keys()].filter((name) => /\.(css|svg)$/.test(name));
const entry = new Set([...closure('index.html'), 'index.html', ...styles]);
/** Page → what is loaded for it beside the shell. */
const parts = {};
const lines = [];
const keyOf = new Map(Object.entries(manifest).map(([key, { file }]) => [file, key]));
for (const [page, file] of Object.entries(pages).sort()) {
  parts[page] = [...closure(keyOf.get(file))].filter((name) => !entry.has(name) && name.endsWith('.js'));
  lines.push(lineOf(page, sum(parts[page])));
}
writeFileSync(join(FOLDER, 'parts.json'), JSON.stringify(parts));
lines.push(lineOf('shell', sum(entry)));
const found = { 'shell and Runs': sum([...entry, ...parts.runs]), 'all pages': sum(sizes.keys()) };
const isOver = Object.entries(found).some(([what, bytes]) => bytes > BUDGETS[what] * 1024);
for (const [what, bytes] of Object.entries(found)) {
  lines.push(lineOf(what, bytes, ` of ${BUDGETS[what]} KB`));
}
if (isOver || process.argv[3] === 'sizes') console.log(lines.join('\n'));
if (isOver) {
  console.error('The dashboard has grown out of its budget.');
  process.exit(1);
}

function lineOf(what, bytes, more = '') {
  return `  ${what.padEnd(28)} ${(bytes / 1024).toFixed(1).padStart(6)} KB gzipped${more}`;
}
