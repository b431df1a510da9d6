import { beforeAll, describe, expect, it } from 'vitest';
import { formatLinkKeys, type LinkKey } from '../../common/config/link-keys.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { createSigner, impressionLink } from '../../contract/link-token.ts';
import { updateAd } from '../../ledger/accounts/ads.ts';
import { creditClick } from '../../ledger/accounts/budget-entries.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const keys: LinkKey[] = [{ id: 'k1', state: 'signs', secret: Buffer.alloc(32, 1) }];

const database = testDatabase();
const spool = new TestSpool();
const folder = suiteFolder();
let ad: NamedAd;
beforeAll(async () => {
  ({ ad } = await addAccount(database.pool));
});

/** Runs `tollway click show` as a person would. */
function show(text: string, options: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  return tollwayHere(
    { PATH: process.env.PATH, DATABASE_URL: database.url, DATA_DIR: folder, ...env },
    'click',
    'show',
    text,
    ...options,
  );
}

const json = async (text: string, env?: NodeJS.ProcessEnv) =>
  JSON.parse((await show(text, ['--json'], env)).stdout);

describe('click show', () => {
  it('prints the documented JSON of a charged click, with what was credited', async () => {
    const record = spool.click({ ad, publisher: 'site-1' });
    const { click } = record;
    await chargeBatch(database.pool, [record]);
    const clickedAt = new Date(click.clickedAt).toISOString();
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/);
    const charged = {
      clickId: click.clickId,
      state: 'settled',
      outcome: 'charged',
      reason: null,
      explanation: expect.stringMatching(/^It was charged/),
      clickedAt,
      publishedAt: null,
      settledAt: time,
      duplicates: 0,
      price: '0.25',
      charged: '0.25',
      credited: '0.00',
      adId: ad.id,
      adName: null,
      campaignId: ad.campaignId,
      campaignName: 'Test campaign',
      advertiserId: ad.advertiserId,
      advertiserName: 'Test advertiser',
      publisher: 'site-1',
      nonce: null,
      spoolId: spool.id,
      sequence: 1,
      evidence: {
        network: '192.0.2.0/24',
        userAgent: 'Mozilla/5.0 (test)',
        referrerHost: 'publisher.example',
        subIds: null,
      },
      history: [
        { at: clickedAt, event: `accepted: spool ${spool.id}, sequence 1` },
        { at: time, event: 'settled: charged' },
      ],
    };
    const printed = await json(click.clickId);
    expect(printed).toEqual(charged);
    expect(Object.keys(printed)).toEqual(Object.keys(charged));
    await creditClick(database.pool, click.clickId);
    expect(await json(click.clickId)).toMatchObject({
      charged: '0.25',
      credited: '0.25',
      history: [{}, {}, { at: time, event: 'credited' }],
    });
  });

  it('prints lines for a person, with names beside ids', async () => {
    await updateAd(database.pool, ad.id, { name: 'Banner' });
    const record = spool.click({ ad, invalid: 'bot', subIds: { sub1: 'a b' } });
    await chargeBatch(database.pool, [record]);
    expect(await json(record.click.clickId)).toMatchObject({ adName: 'Banner' });
    const { code, stdout } = await show(record.click.clickId);
    expect(code).toBe(0);
    const at = (pattern: string) => expect.stringMatching(new RegExp(`^${pattern}$`));
    expect(stdout.trim().split('\n')).toEqual([
      `clickId      ${record.click.clickId}`,
      'state        settled',
      'outcome      invalid',
      'reason       bot',
      'explanation  It was not charged: the user agent names a robot or a program.',
      'price',
      'charged      0.00 USD',
      'credited     0.00 USD',
      'advertiserId 1 (Test advertiser)',
      'campaignId   1 (Test campaign)',
      'adId         1 (Banner)',
      'publisher',
      at('clickedAt    2.*Z'),
      'publishedAt',
      at('settledAt    2.*Z'),
      'duplicates   0',
      'nonce',
      `spoolId      ${spool.id}`,
      'sequence     2',
      'evidence     network: 192.0.2.0/24',
      '             userAgent: Mozilla/5.0 (test)',
      '             referrerHost: publisher.example',
      '             sub1: a b',
      at(`history      2.*Z accepted: spool ${spool.id}, sequence 2`),
      at(' {13}2.*Z settled: invalid \\(bot\\)'),
    ]);
  });

  it('finds a click by its link', async () => {
    const link = impressionLink(ad.id, 86_400_000);
    const record = spool.click({ ad, nonce: link.nonce });
    await chargeBatch(database.pool, [record]);
    const url = `https://ads.example.com/c/${createSigner(keys)(link)}?utm_source=mail`;
    expect(await json(url, { LINK_KEYS: formatLinkKeys(keys) })).toMatchObject({
      clickId: record.click.clickId,
      nonce: link.nonce,
    });
  });

  it('exits with 1 for a click that is not known, and with 0 for one that may be under way', async () => {
    await chargeBatch(database.pool, [spool.click({ ad })]);
    const unknown = await show('01a208fb-f934-70de-beaa-9335acbb4502', ['--json']);
    expect(unknown.code).toBe(1);
    expect(JSON.parse(unknown.stdout)).toMatchObject({
      clickId: '01a208fb-f934-70de-beaa-9335acbb4502',
      state: 'unknown',
      outcome: null,
      clickedAt: null,
      price: null,
      charged: null,
      credited: null,
      history: [],
    });
    const young = await show(uuidV7());
    expect(young.code).toBe(0);
    expect(young.stdout).toContain('state        in_flight\n');
  });

  it('refuses what is neither an id nor a link', async () => {
    expect(await show('4711')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Expected a click id, a nonce (both are UUIDv7) or a link, got "4711"\n',
    });
  });
});
