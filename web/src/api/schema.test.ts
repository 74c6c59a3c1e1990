import { readFile } from 'node:fs/promises';
import openapiTS, { astToString } from 'openapi-typescript';
import { expect, it } from 'vitest';

it('is what docs/openapi.json says; after a change run `npm run generate`', async () => {
  const document = new URL('../../../docs/openapi.json', import.meta.url);
  const generated = astToString(await openapiTS(document, { rootTypes: true, rootTypesNoSchemaPrefix: true }));
  const committed = await readFile(new URL('./schema.gen.ts', import.meta.url), 'utf8');
  expect(committed.endsWith(generated)).toBe(true);
}, 30_000);
