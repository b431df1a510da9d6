import { beforeAll, expect, it } from 'vitest';
import { isoDay } from '../../ledger/partitions.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord, type NamedAd } from '../support/records.ts';
import { tollway } from '../support/run-script.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const database = testDatabase();
const folder = suiteFolder();
let ad: NamedAd;
beforeAll(async () => {
  ({ ad } = await addAccount(database.pool));
});

function erase(...args: string[]) {
  const { KAFKA_BROKERS: _, BROKER: __, ...inherited } = process.env;
  const env = { ...inherited, DATABASE_URL: database.url, DATA_DIR: folder };
  return tollway(env, 'evidence', 'erase', ...args);
}

it('erases evidence by network, click and day, and says how many clicks had some', async () => {
  const records = [1, 2, 2, 3].map((network) => clickRecord({ ad, visitorNetwork: `203.0.${network}.0/24` }));
  await chargeBatch(database.pool, records);
  expect((await erase('--network', '203.0.1.0/24')).stdout).toBe('Erased the evidence of 1 click\n');
  const [, second] = records;
  expect(JSON.parse((await erase('--click', second?.click.clickId ?? '', '--json')).stdout)).toEqual({
    erased: 1,
  });
  expect((await erase('--day', isoDay(Date.now()))).stdout).toBe('Erased the evidence of 2 clicks\n');
});

it.each([
  [[], /^Expected one of --network, --day and --click$/m],
  [['--day', '2026-01-31', '--network', '203.0.1.0/24'], /^Expected one of --network, --day and --click$/m],
  [['--network', '203.0.113.7'], /Expected an IPv4 network of at most \/24 .*, got "203\.0\.113\.7"/],
  [['--network', '203.0.113.0/25'], /Expected an IPv4 network of at most \/24/],
  [['--network', '2001:db8::/64'], /or an IPv6 network of at most \/48/],
  [['--network', '0.0.0.0/0'], /Expected an IPv4 network/],
  [
    ['--day', '2026-02-30'],
    /Expected a UTC day such as 2026-01-31, in the years 1970 to 9999, got "2026-02-30"/,
  ],
  [['--day', '0001-01-01'], /in the years 1970 to 9999, got "0001-01-01"/],
  [['--click', 'x'], /Expected a click id/],
])('refuses %j', async (args, message) => {
  const { code, stdout, stderr } = await erase(...args);
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(message);
});
