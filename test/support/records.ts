import { uuidV7 } from '../../common/uuid.ts';
import {
  type ClickEvent,
  clickKey,
  encodeClick,
  type ReadClick,
  type ReadWatermark,
  type SpoolPosition,
  type Unreadable,
  watermarkRecord,
} from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';

/** The fields of an ad that a click carries. Every `Ad` has them. */
export type NamedAd = {
  readonly id: number;
  readonly campaignId: number;
  readonly advertiserId: number;
  readonly priceMicros: bigint;
};

const SOME_AD: NamedAd = { id: 1, campaignId: 1, advertiserId: 1, priceMicros: 250_000n };

export type ClickOverrides = Partial<Omit<ClickEvent, 'adId' | 'campaignId' | 'advertiserId'>> & {
  readonly ad?: NamedAd;
};

/** Creates a click event. Defaults: clicked now, at the ad's price, on an evergreen link, valid. */
export function clickEvent({ ad = SOME_AD, ...overrides }: ClickOverrides = {}): ClickEvent {
  const clickedAt = overrides.clickedAt ?? Date.now();
  return {
    clickId: uuidV7(clickedAt),
    nonce: null,
    adId: ad.id,
    campaignId: ad.campaignId,
    advertiserId: ad.advertiserId,
    priceMicros: Number(ad.priceMicros),
    clickedAt,
    invalid: null,
    budgetExhausted: false,
    visitorNetwork: '192.0.2.0/24',
    userAgent: 'Mozilla/5.0 (test)',
    referrerHost: 'publisher.example',
    ...overrides,
  };
}

/** A click event and its position in a spool. Without `from`, it is the first of a new spool; `null` stands for a record without a key. */
export type RecordOverrides = ClickOverrides & { readonly from?: SpoolPosition | null };

/** Creates a click as a handler gets it: encoded under its key and decoded again. */
export function clickRecord({ from, ...overrides }: RecordOverrides = {}): ReadClick {
  const value = Buffer.from(encodeClick(clickEvent(overrides)));
  const record = readRecord({ key: keyOf(from), value }, `test ${uuidV7()}`);
  if (record.is !== 'click') throw new Error(`Expected a click, got ${JSON.stringify(record)}`);
  return record;
}

/** Creates a record that is no click, as a handler gets it. With `from: null` it has no key of Tollway. */
export function unreadableRecord(value: Buffer | null, from?: SpoolPosition | null): Unreadable {
  const record = readRecord({ key: keyOf(from), value }, `test ${uuidV7()}`);
  if (record.is !== 'unreadable')
    throw new Error(`Expected an unreadable record, got ${JSON.stringify(record)}`);
  return record;
}

function keyOf(from: SpoolPosition | null | undefined): string | null {
  if (from === null) return null;
  return from === undefined ? clickKey(uuidV7(), 1) : clickKey(from.spoolId, from.sequence);
}

/** A spool without a disk: it assigns sequences and counts the clicks that it has accepted. */
export class TestSpool {
  readonly id = uuidV7();
  accepted = 0;

  next(): SpoolPosition {
    this.accepted += 1;
    return { spoolId: this.id, sequence: this.accepted };
  }

  /** Creates a click that this spool has accepted. */
  click(overrides: ClickOverrides = {}): ReadClick {
    return clickRecord({ ...overrides, from: this.next() });
  }

  watermark(): ReadWatermark {
    const record = readRecord(watermarkRecord(this.id, this.accepted), `test ${uuidV7()}`);
    if (record.is !== 'watermark') throw new Error(`Expected a watermark, got ${JSON.stringify(record)}`);
    return record;
  }
}
