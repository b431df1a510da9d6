import { beforeAll, expect, it } from 'vitest';
import { formatLinkKeys } from '../../common/config/link-keys.ts';
import { createVerifier } from '../../contract/link-token.ts';
import { updateAd } from '../../ledger/accounts/ads.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { DAY_MS, k1 } from '../support/link-samples.ts';
import { tollwayHere } from '../support/run-here.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const database = testDatabase();
const folder = suiteFolder();
const verify = createVerifier([k1], 90 * DAY_MS);
beforeAll(async () => {
  await addAccount(database.pool);
});

function link(...args: string[]) {
  const env = { PATH: process.env.PATH, DATABASE_URL: database.url, DATA_DIR: folder };
  return tollwayHere({ ...env, LINK_KEYS: formatLinkKeys([k1]) }, 'link', ...args);
}

it.each([
  [
    ['1', '--publisher', 'example-news', '--count', '2'],
    { adId: 1, publisher: 'example-news', nonce: expect.any(String) },
  ],
  [['1', '--publisher', 'example-news', '--evergreen'], { adId: 1, publisher: 'example-news', nonce: null }],
  [['1'], { adId: 1, publisher: null, nonce: expect.any(String) }],
])('link %j prints links of its publisher', async (args, expected) => {
  const { stdout, code } = await link(...args);
  expect(code).toBe(0);
  for (const url of stdout.trim().split('\n'))
    expect(verify(new URL(url).pathname.slice(3))).toMatchObject(expected);
});

it('says whose ad it is beside the links, and not with --json', async () => {
  await updateAd(database.pool, 1, { name: 'Banner, blue' });
  const { stdout, stderr } = await link('1', '--count', '2');
  expect(stdout).toMatch(/^(https?:\S+\n){2}$/);
  expect(stderr).toBe(
    '2 links to ad 1 (Banner, blue), campaign 1 (Test campaign), advertiser 1 (Test advertiser)\n',
  );
  await updateAd(database.pool, 1, { name: null });
  expect((await link('1')).stderr).toMatch(/^1 link to ad 1, campaign 1 /);
  expect((await link('1', '--json')).stderr).toBe('');
});

it.each(['', 'example.com', 'a b', 'p'.repeat(33)])('link --publisher %j is refused', async (publisher) => {
  const { stdout, stderr, code } = await link('1', '--publisher', publisher);
  expect({ stdout, code }).toEqual({ stdout: '', code: 1 });
  expect(stderr).toContain(`Expected a publisher of 1–32 letters, digits, - and _, got "${publisher}"`);
});
