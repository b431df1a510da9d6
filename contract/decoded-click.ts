import { formatUuid, parseUuid } from '../common/uuid.ts';
import type { ClickEvent, EdgeInvalidReason } from './click-fields.ts';
import type { SubIds } from './sub-ids.ts';

/**
 * A click event as readers get it. Its id is kept as four numbers: a batch is sorted, checked and stored by them, and the text is made only
 * where it is needed. All instances have the same fields, so that V8 compiles one version of the code that reads them.
 */
export class DecodedClick implements ClickEvent {
  /** The 128 bits of the click id, as signed 32-bit integers. */
  id0 = 0;
  id1 = 0;
  id2 = 0;
  id3 = 0;
  nonce: string | null = null;
  adId = 0;
  campaignId = 0;
  advertiserId = 0;
  priceMicros = 0;
  clickedAt = 0;
  invalid: EdgeInvalidReason | null = null;
  budgetExhausted = false;
  held = false;
  visitorNetwork: string | null = null;
  userAgent: string | null = null;
  referrerHost: string | null = null;
  publisher: string | null = null;
  subIds: SubIds | null = null;
  traceparent: string | null = null;

  get clickId(): string {
    return formatUuid(this.id0, this.id1, this.id2, this.id3);
  }
}

/** Copies a valid click event into a `DecodedClick`. */
export function toDecodedClick(event: ClickEvent): DecodedClick {
  const click = new DecodedClick();
  [click.id0, click.id1, click.id2, click.id3] = parseUuid(event.clickId);
  click.nonce = event.nonce;
  click.adId = event.adId;
  click.campaignId = event.campaignId;
  click.advertiserId = event.advertiserId;
  click.priceMicros = event.priceMicros;
  click.clickedAt = event.clickedAt;
  click.invalid = event.invalid;
  click.budgetExhausted = event.budgetExhausted;
  click.held = event.held ?? false;
  click.visitorNetwork = event.visitorNetwork;
  click.userAgent = event.userAgent;
  click.referrerHost = event.referrerHost;
  click.publisher = event.publisher ?? null;
  click.subIds = event.subIds ?? null;
  click.traceparent = event.traceparent ?? null;
  return click;
}

/** Orders clicks by time, then by the other bits of their ids: the order of the texts of their ids. */
export function compareClicks(one: DecodedClick, other: DecodedClick): number {
  return (
    (one.id0 >>> 0) - (other.id0 >>> 0) ||
    (one.id1 >>> 0) - (other.id1 >>> 0) ||
    (one.id2 >>> 0) - (other.id2 >>> 0) ||
    (one.id3 >>> 0) - (other.id3 >>> 0)
  );
}
