// Fails when the script that the first load needs grows beyond its budget.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BUDGET_BYTES = 110 * 1024;
const folder = new URL('../dist/assets/', import.meta.url).pathname;

const total = readdirSync(folder)
  .filter((name) => name.endsWith('.js'))
  .reduce((sum, name) => sum + gzipSync(readFileSync(join(folder, name))).length, 0);

console.log(`script: ${(total / 1024).toFixed(1)} KiB of ${BUDGET_BYTES / 1024} KiB (gzip)`);
if (total > BUDGET_BYTES) process.exit(1);
