import { JsonReader, literal } from '../common/json-reader.ts';
import { isTraceparent } from '../common/telemetry/traceparent.ts';
import { isUuidV7 } from '../common/uuid.ts';
import {
  CLICK_BYTES_MAX,
  CLICK_VERSION,
  EDGE_INVALID_REASONS,
  type EdgeInvalidReason,
  ID_MAX,
  PRICE_MICROS_MAX,
} from './click-fields.ts';
import { DecodedClick } from './decoded-click.ts';
import { isPublisher } from './publisher.ts';
import { areSubIds, SUB_ID_NAMES, type SubIdName, type SubIds } from './sub-ids.ts';

const CLICK_ID = literal(`{"v":${CLICK_VERSION},"clickId":"`);
const NONCE = literal('","nonce":');
const AD_ID = literal(',"adId":');
const CAMPAIGN_ID = literal(',"campaignId":');
const ADVERTISER_ID = literal(',"advertiserId":');
const PRICE_MICROS = literal(',"priceMicros":');
const CLICKED_AT = literal(',"clickedAt":');
const NOT_INVALID = literal(',"invalid":null');
const INVALID = literal(',"invalid":');
const NOT_BUDGET_EXHAUSTED = literal(',"budgetExhausted":false');
const BUDGET_EXHAUSTED = literal(',"budgetExhausted":true');
const VISITOR_NETWORK = literal(',"visitorNetwork":');
const USER_AGENT = literal(',"userAgent":');
const REFERRER_HOST = literal(',"referrerHost":');
const HELD = literal(',"held":true');
const PUBLISHER = literal(',"publisher":');
const SUB_IDS = literal(',"subIds":{');
const TRACEPARENT = literal(',"traceparent":');
const COLON = 0x3a;
const COMMA = 0x2c;
const CLOSE = 0x7d;

/** One reader serves all events: decoding does not wait. */
const reader = new JsonReader();
const idWords = new Int32Array(4);

/**
 * Decodes the click event from `start` to `end` in exactly the form that `encodeClick` writes, with texts of ASCII without escapes: nearly
 * all events. Returns `null` for every other form, valid or not; `readRecord` then parses it as JSON, with the same result for the events
 * that both can read.
 */
export function decodeClick(bytes: Buffer, start = 0, end = bytes.length): DecodedClick | null {
  if (end - start > CLICK_BYTES_MAX) return null;
  const click = new DecodedClick();
  reader.begin(bytes, start, end);
  readIds(click);
  readJudgement(click);
  reader.skip(VISITOR_NETWORK);
  click.visitorNetwork = reader.text();
  reader.skip(USER_AGENT);
  click.userAgent = reader.frequentText();
  reader.skip(REFERRER_HOST);
  click.referrerHost = reader.frequentText();
  if (!reader.skipByteIf(CLOSE)) {
    readOptional(click);
    if (!reader.skipByteIf(CLOSE)) return null;
  }
  return reader.fits && reader.isAtEnd ? click : null;
}

function readIds(click: DecodedClick): void {
  reader.skip(CLICK_ID);
  reader.uuid(idWords);
  click.id0 = idWords[0] as number;
  click.id1 = idWords[1] as number;
  click.id2 = idWords[2] as number;
  click.id3 = idWords[3] as number;
  reader.skip(NONCE);
  click.nonce = reader.text();
  if (click.nonce !== null && !isUuidV7(click.nonce)) reader.fits = false;
  reader.skip(AD_ID);
  click.adId = reader.number(ID_MAX);
  reader.skip(CAMPAIGN_ID);
  click.campaignId = reader.number(ID_MAX);
  reader.skip(ADVERTISER_ID);
  click.advertiserId = reader.number(ID_MAX);
  reader.skip(PRICE_MICROS);
  click.priceMicros = reader.number(PRICE_MICROS_MAX);
  reader.skip(CLICKED_AT);
  click.clickedAt = reader.number(Number.MAX_SAFE_INTEGER);
  const timeMs = (click.id0 >>> 0) * 0x1_0000 + (click.id1 >>> 16);
  if (!isVersion7(click.id1, click.id2) || click.clickedAt !== timeMs) reader.fits = false;
}

/** Version 7 and variant 10: https://www.rfc-editor.org/rfc/rfc9562#section-5.7 */
function isVersion7(id1: number, id2: number): boolean {
  return ((id1 >>> 12) & 0xf) === 7 && id2 >>> 30 === 2;
}

function readJudgement(click: DecodedClick): void {
  if (!reader.skipIf(NOT_INVALID)) {
    reader.skip(INVALID);
    const reason = reader.frequentText() as EdgeInvalidReason;
    if (!EDGE_INVALID_REASONS.includes(reason)) reader.fits = false;
    click.invalid = reason;
  }
  if (!reader.skipIf(NOT_BUDGET_EXHAUSTED)) {
    reader.skip(BUDGET_EXHAUSTED);
    click.budgetExhausted = true;
  }
}

function readOptional(click: DecodedClick): void {
  click.held = reader.skipIf(HELD);
  if (reader.skipIf(PUBLISHER)) {
    click.publisher = reader.frequentText();
    if (!isPublisher(click.publisher)) reader.fits = false;
  }
  if (reader.skipIf(SUB_IDS)) click.subIds = readSubIds();
  if (reader.skipIf(TRACEPARENT)) {
    click.traceparent = reader.text();
    if (!isTraceparent(click.traceparent)) reader.fits = false;
  }
}

function readSubIds(): SubIds {
  const texts: { [Name in SubIdName]?: string } = {};
  do {
    const name = reader.frequentText() as SubIdName;
    if (!reader.skipByteIf(COLON)) reader.fits = false;
    const text = reader.text();
    if (text === null || !SUB_ID_NAMES.includes(name)) {
      reader.fits = false;
      return texts;
    }
    texts[name] = text;
  } while (reader.skipByteIf(COMMA));
  if (!reader.skipByteIf(CLOSE) || !areSubIds(texts)) reader.fits = false;
  return texts;
}
