import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import { beforeAll, describe, expect, it } from 'vitest';
import { BUNDLES, type BuiltFunction, buildFunctions } from '../../deploy/build-functions.ts';
import { suiteFolder, temporaryFolder } from '../support/temporary-folder.ts';

const ZIP_BYTES_MAX = 1_048_576;
const ROOT = join(import.meta.dirname, '../..');

const textOf = ({ folder }: BuiltFunction, file: string) => readFileSync(join(folder, file), 'utf8');

describe('the bundles of the functions', () => {
  const folder = suiteFolder();
  let bundles: readonly BuiltFunction[];
  beforeAll(async () => {
    bundles = await buildFunctions(folder);
  });

  it('are reproducible byte for byte', async () => {
    const { TZ: zone } = process.env;
    process.env.TZ = 'Pacific/Auckland';
    const second = await buildFunctions(temporaryFolder());
    process.env.TZ = zone;
    expect(bundles.map(({ name }) => name)).toEqual(Object.keys(BUNDLES));
    for (const [index, { name, zip }] of bundles.entries()) {
      expect(Buffer.compare(zip, second[index]?.zip ?? Buffer.alloc(0)), name).toBe(0);
    }
  });

  it('have one small file and its source map', () => {
    for (const built of bundles) {
      const file = built.name === 'openwhisk' ? 'index.js' : 'index.mjs';
      // The Functions Framework asks for a package.json.
      const more = built.name === 'cloud-event' ? ['package.json'] : [];
      expect(Object.keys(unzipSync(built.zip)), built.name).toEqual([file, ...more]);
      expect(built.zip.length, built.name).toBeLessThan(ZIP_BYTES_MAX);
      expect(statSync(`${built.folder}.zip`).size).toBe(built.zip.length);
      const map = JSON.parse(textOf(built, `${file}.map`)) as { sources: string[] };
      expect(
        map.sources.some(
          (source) =>
            source.endsWith('processor/runtime.ts') || source.endsWith('ad-server/redirect/redirect.ts'),
        ),
      ).toBe(true);
    }
  });

  it("contain all dependencies except AWS' SDK and clients that they do not use, and no paths of the machine", () => {
    for (const built of bundles) {
      const text = textOf(built, built.name === 'openwhisk' ? 'index.js' : 'index.mjs');
      const wanted = [...text.matchAll(/\b(?:require\(|import\(|import|from)\s*"([@a-z][\w@/.:-]*)"/g)].map(
        ([, name]) => String(name),
      );
      const foreign = wanted.filter((name) => !/^(node:)?[a-z_]+(\/[a-z]+)?$/.test(name));
      expect(
        foreign.filter((name) => !/^@aws-sdk\/|^pg-(native|cloudflare)$|^@platformatic\/kafka$/.test(name)),
        built.name,
      ).toEqual([]);
      expect(text).not.toContain(ROOT);
      expect(text).toContain('connectionTimeoutMillis');
    }
  });
});
