import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { PAGE_PATHS } from '../../console/serve-page.ts';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

/** Largest first load, in bytes over the wire. */
const FIRST_LOAD_BYTES_MAX = 250_000;

const database = testDatabase();
const api = testApi(database);

const fetchPath = (url: string, encoding = 'br') =>
  api.app.inject({ url, headers: { 'accept-encoding': encoding } });

/** The files that the document of a path names. */
async function filesOf(path: string): Promise<string[]> {
  const { payload } = await fetchPath(path, 'identity');
  return [...payload.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map(([, file = '']) => file);
}

describe('the files of the live page', () => {
  it('are small, and every view has the same', async () => {
    const files = await filesOf('/');
    expect(files).toHaveLength(3);
    const loaded = await Promise.all(['/', ...files].map((file) => fetchPath(file)));
    expect(loaded.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 200]);
    const bytes = loaded.reduce((sum, { rawPayload }) => sum + rawPayload.length, 0);
    expect(bytes).toBeLessThan(FIRST_LOAD_BYTES_MAX);
    for (const path of PAGE_PATHS) expect(await filesOf(`${path}/1`)).toEqual(files);
  });

  it('are the same in every encoding', async () => {
    const [, , script = ''] = await filesOf('/');
    const plain = (await fetchPath(script, 'identity')).rawPayload;
    expect(plain.length).toBeGreaterThan(1_000);
    expect(brotliDecompressSync((await fetchPath(script, 'gzip, br')).rawPayload)).toEqual(plain);
    expect(gunzipSync((await fetchPath(script, 'gzip')).rawPayload)).toEqual(plain);
  });

  it('name their content, so that browsers keep them; the document is asked for again', async () => {
    const [, style = '', script = ''] = await filesOf('/');
    for (const file of [style, script]) {
      expect(file).toMatch(/-[0-9a-f]{12}\.(css|js)$/);
      expect((await fetchPath(file)).headers['cache-control']).toBe('public, max-age=31536000, immutable');
    }
    expect((await fetchPath('/')).headers['cache-control']).toBe('no-cache');
  });

  it('run under a policy that allows no script and no style but their own', async () => {
    const { headers } = await fetchPath('/operations/keys');
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("style-src 'self';");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    expect(headers['x-content-type-options']).toBe('nosniff');
  });

  it('are not answered in place of the API: an unknown path stays a problem of JSON', async () => {
    for (const path of [
      '/v1/nothing',
      '/nothing',
      '/assets/page-000000000000.js',
      '/assets/%2e%2e%2fserve-page.ts',
    ]) {
      const { statusCode, headers } = await fetchPath(path);
      expect([path, statusCode]).toEqual([path, 404]);
      expect(headers['content-type']).toMatch(/^application\/problem\+json/);
    }
  });
});
