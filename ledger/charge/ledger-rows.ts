import type { Connection } from '../../common/postgres/postgres.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { CopyRows, sendRows } from './copy-encoder.ts';
import type { EvidenceRows } from './evidence-rows.ts';
import type { Verdict } from './outcome.ts';

/** A click and its outcome, which becomes a row of the ledger. */
export type SettledClick = { readonly record: ReadClick; readonly verdict: Verdict };

/** Collects the rows of settled clicks, in `ledger`, `spent_nonce` and `click_evidence`, and inserts them. */
export class LedgerRows {
  private readonly ledger = new CopyRows(13);
  private readonly spentNonces = new CopyRows(2);
  /** The time of the earliest click in Unix ms; `Infinity` without clicks. */
  earliestMs = Number.POSITIVE_INFINITY;
  private readonly settledAt: number;
  private readonly evidence: EvidenceRows | null;

  /** `settledAt`: the time that the rows are stamped with, in Unix ms. `evidence`: `null` if no evidence is kept. */
  constructor(settledAt: number, evidence: EvidenceRows | null) {
    this.settledAt = settledAt;
    this.evidence = evidence;
  }

  /** Adds the rows of a click. Throws what `EvidenceRows.add` throws. */
  add({ record: { click, from, publishedAt }, verdict: { outcome, reason } }: SettledClick): void {
    const { ledger, spentNonces } = this;
    if (click.clickedAt < this.earliestMs) this.earliestMs = click.clickedAt;
    ledger.row();
    ledger.uuidWords(click.id0, click.id1, click.id2, click.id3);
    this.evidence?.add(ledger, click, publishedAt);
    ledger.uuid(click.nonce);
    ledger.sharedUuid(from?.spoolId ?? null);
    ledger.int8(from?.sequence ?? null);
    ledger.timestamp(click.clickedAt);
    ledger.timestamp(this.settledAt);
    ledger.int8(outcome === 'charged' ? click.priceMicros : 0);
    ledger.int4(click.advertiserId);
    ledger.int4(click.campaignId);
    ledger.int4(click.adId);
    ledger.text(outcome);
    ledger.text(reason);
    ledger.text(click.publisher);
    if (click.nonce === null || outcome === 'invalid') return;
    spentNonces.row();
    spentNonces.uuid(click.nonce);
    spentNonces.uuidWords(click.id0, click.id1, click.id2, click.id3);
  }

  /** Inserts the rows with binary `COPY`. Fails (SQLSTATE 23505) if a click id or a nonce exists already. */
  async insert(connection: Connection): Promise<void> {
    await sendRows(connection, [
      {
        rows: this.ledger,
        statement: `copy ledger (click_id, nonce, spool_id, sequence, clicked_at, settled_at, charged_micros, advertiser_id, campaign_id, ad_id,
          outcome, reason, publisher) from stdin (format binary)`,
      },
      { rows: this.spentNonces, statement: 'copy spent_nonce (nonce, click_id) from stdin (format binary)' },
      ...(this.evidence ? [this.evidence.ofTable()] : []),
    ]);
  }
}
