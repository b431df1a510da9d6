import { beforeAll, expect, it } from 'vitest';
import { creditClick } from '../../ledger/budget-entries.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { tollway } from '../support/run-script.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const UNKNOWN = '01a208fb-f934-70de-beaa-9335acbb4502';

const database = testDatabase();
const spool = new TestSpool();
const folder = suiteFolder();
let ad: NamedAd;
beforeAll(async () => {
  ({ ad } = await addAccount(database.pool));
});

/** Runs `tollway click show` as a person would. */
function show(...args: string[]) {
  const { KAFKA_BROKERS: _, BROKER: __, ...inherited } = process.env;
  const env = { ...inherited, DATABASE_URL: database.url, DATA_DIR: folder };
  return tollway(env, 'click', 'show', ...args);
}

it('tells the outcome of a click that was charged, with what was credited', async () => {
  const record = spool.click({ ad });
  const { click } = record;
  await chargeBatch(database.pool, [record]);
  const json = async () => JSON.parse((await show(click.clickId, '--json')).stdout);
  const charged = {
    clickId: click.clickId,
    outcome: 'charged',
    reason: null,
    charged: '0.25',
    credited: '0.00',
    currency: 'USD',
    advertiserId: ad.advertiserId,
    campaignId: ad.campaignId,
    adId: ad.id,
    clickedAt: new Date(click.clickedAt).toISOString(),
    settledAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
  };
  expect(await json()).toEqual(charged);
  await creditClick(database.pool, click.clickId);
  expect(await json()).toEqual({ ...charged, credited: '0.25' });
  const { code, stdout } = await show(click.clickId);
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /^clickId {6}[0-9a-f-]{36}\noutcome {6}charged\nreason\ncharged {6}0\.25\ncredited {5}0\.25\n/,
  );
});

it('tells why a click was not charged, and finds rejected ones', async () => {
  const bot = spool.click({ ad, invalid: 'bot' });
  const lost = spool.click({ ad: { ...ad, id: 99 } });
  await chargeBatch(database.pool, [bot, lost]);
  expect(JSON.parse((await show(bot.click.clickId, '--json')).stdout)).toMatchObject({
    outcome: 'invalid',
    reason: 'bot',
    charged: '0.00',
  });
  expect(JSON.parse((await show(lost.click.clickId, '--json')).stdout)).toMatchObject({
    outcome: 'rejected',
    reason: 'unknown_ad',
    adId: 99,
    charged: '0.00',
  });
});

it('that is not in the ledger is an error that says what to do', async () => {
  expect(await show(UNKNOWN)).toEqual({
    code: 1,
    stdout: '',
    stderr: `The ledger has no click ${UNKNOWN}. If it was made a moment ago, it may not be settled yet: try again in a few seconds\n`,
  });
});
