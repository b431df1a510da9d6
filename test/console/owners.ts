import { formatAmount, parseAmount } from '../../common/money.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { createSigner, impressionLink } from '../../contract/link-token.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import { addAd } from '../../ledger/accounts/ads.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../../ledger/accounts/campaigns.ts';
import { listDeadLetters } from '../../ledger/charge/dead-letters.ts';
import { addWebhook, sendTestEvent } from '../../ledger/webhooks/webhooks.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { clickRecord } from '../support/records.ts';

/** The key that signs the links of `addOwner`, and the settings of an API that knows it. */
const LINK_KEY = { id: 'k1', state: 'signs', secret: Buffer.alloc(32, 7) } as const;
export const OWNER_SETTINGS = { LINK_KEYS: `k1:signs:${LINK_KEY.secret.toString('base64url')}` };

/** An advertiser with one of everything, to sendRaw the API for. */
export type Owner = {
  readonly advertiserId: number;
  readonly campaignId: number;
  readonly adId: number;
  readonly externalId: string;
  /** A charged click of `link`. */
  readonly clickId: string;
  readonly nonce: string;
  /** Of a click on an ad that does not exist. */
  readonly deadLetterId: bigint;
  /** A key that nothing uses. */
  readonly spareKeyId: number;
  readonly webhookId: number;
  /** An event that was queued for the webhook. */
  readonly eventId: bigint;
  /** The token of an impression link. */
  readonly link: string;
  /** Texts that only answers about this advertiser have. */
  readonly secrets: readonly string[];
};

/** Creates an advertiser whose ids begin at `base`, so that they differ from all others. Its names have `name`, and its amounts end in `decimals`. */
export async function addOwner(pool: Pool, name: string, base: number, decimals: string): Promise<Owner> {
  for (const table of ['advertiser', 'campaign', 'ad', 'api_key', 'dead_letter', 'webhook', 'webhook_event'])
    await pool.query('select setval(pg_get_serial_sequence($1, $2), $3)', [table, 'id', base]);
  const micros = (whole: number) => parseAmount(`${whole}.${decimals}`);
  const { id: advertiserId } = await addAdvertiser(pool, `${name} advertiser`, 'USD');
  await addBudgetEntry(pool, advertiserId, 'top_up', micros(5_000), `${name} top-up`);
  const { id: campaignId } = await addCampaign(pool, advertiserId, `${name} campaign`, {
    capMicros: micros(900),
    externalId: `${name}-external`,
  });
  const ad = await addAd(pool, campaignId, micros(1), `https://${name}.example/?click={click_id}`);
  const link = impressionLink(ad.id, 86_400_000);
  const [clicked, credited] = [clickRecord({ ad, nonce: link.nonce }), clickRecord({ ad })];
  await chargeBatch(pool, [clicked, credited]);
  await creditClick(pool, credited.click.clickId);
  const rejected = clickRecord({ ad: { ...ad, id: ad.id + 5_000 } });
  await chargeBatch(pool, [rejected]);
  const { webhook } = await addWebhook(pool, { url: `https://${name}.example/`, advertiserId }, 'public');
  const letters = await listDeadLetters(pool);
  const deadLetterId = letters.find(({ clickId }) => clickId === rejected.click.clickId)?.id ?? 0n;
  return {
    ...{ advertiserId, campaignId, adId: ad.id, externalId: `${name}-external` },
    clickId: clicked.click.clickId,
    nonce: link.nonce ?? '',
    deadLetterId,
    webhookId: webhook.id,
    eventId: await sendTestEvent(pool, webhook.id),
    spareKeyId: (await createKey(pool, { name, role: 'viewer', advertiserIds: [advertiserId] })).id,
    link: createSigner([LINK_KEY])(link),
    secrets: [name, decimals, formatAmount(2n * micros(1)), credited.click.clickId],
  };
}

/** Ids of the form of those of an owner, which do not exist. */
export function missingOwner({
  advertiserId,
  campaignId,
  adId,
  externalId,
  clickId,
  deadLetterId,
  spareKeyId,
  webhookId,
  eventId,
}: Owner): Owner {
  const later = 7_000;
  const link = impressionLink(adId + later, 86_400_000);
  return {
    ...{ advertiserId: advertiserId + later, campaignId: campaignId + later, adId: adId + later },
    externalId: externalId.replace(/^./, 'x'),
    clickId: uuidV7(Number.parseInt(clickId.replaceAll('-', '').slice(0, 12), 16)),
    nonce: link.nonce ?? '',
    deadLetterId: deadLetterId + BigInt(later),
    spareKeyId: spareKeyId + later,
    webhookId: webhookId + later,
    eventId: eventId + BigInt(later),
    link: createSigner([LINK_KEY])(link),
    secrets: [],
  };
}
