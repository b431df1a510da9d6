import { parse } from 'csv-parse/sync';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { uuidV7 } from '../../../common/uuid.ts';
import {
  type CreditAnswer,
  groupRefused,
  refusedCsv,
} from '../../../console/page/views/credits/credit-result.ts';
import { CreditRun, REQUEST_CLICKS_MAX } from '../../../console/page/views/credits/credit-run.ts';
import { CREDIT_CLICKS_MAX } from '../../../ledger/clicks/credit-clicks.ts';

const NOTHING: CreditAnswer = {
  ...{ amounts: [], credited: [], alreadyCredited: [], notCharged: [], otherAdvertiser: [] },
  ...{ unknown: [], dayClosed: [] },
};

type Sent = { readonly key: string | null; readonly clickIds: readonly string[] };

/** Answers each request by the next of `answers`, the rest by credits of 0.10 EUR; an error is a lost answer. Returns what was sent. */
function stubApi(...answers: readonly (Response | Error)[]): Sent[] {
  const sent: Sent[] = [];
  const left = [...answers];
  vi.stubGlobal('fetch', async (_: string, { headers, body }: RequestInit) => {
    const { clickIds, advertiserId } = JSON.parse(String(body)) as {
      clickIds: string[];
      advertiserId: number;
    };
    expect(advertiserId).toBe(4);
    sent.push({ key: new Headers(headers).get('idempotency-key'), clickIds });
    const answer = left.shift();
    if (answer instanceof Error) throw answer;
    return answer ?? credited(clickIds);
  });
  return sent;
}

function credited(clickIds: readonly string[]): Response {
  const amount = (clickIds.length / 10).toFixed(2);
  return Response.json({
    ...NOTHING,
    amounts: [{ currency: 'EUR', amount }],
    credited: clickIds.map((clickId) => ({ clickId, advertiserId: 4, amount: '0.10', currency: 'EUR' })),
  });
}

const lost = () => new TypeError('fetch failed');
const refused = (status: number, code: string) => Response.json({ code, detail: code }, { status });
const idsOf = (count: number) => Array.from({ length: count }, () => uuidV7());

/** Sends, without waiting for the pauses in between. */
async function send(run: CreditRun): Promise<void> {
  const ended = run.send();
  await vi.runAllTimersAsync();
  await ended;
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('a run of credits', () => {
  it('sends as many clicks with a request as the API takes, and adds the answers exactly', async () => {
    expect(REQUEST_CLICKS_MAX).toBe(CREDIT_CLICKS_MAX);
    const ids = idsOf(2_003);
    const sent = stubApi();
    const run = new CreditRun(4, ids, () => {});
    await send(run);
    expect(sent.map(({ clickIds }) => clickIds.length)).toEqual([1_000, 1_000, 3]);
    expect(sent.flatMap(({ clickIds }) => clickIds)).toEqual(ids);
    expect(new Set(sent.map(({ key }) => key)).size).toBe(3);
    expect({ state: run.state, left: run.left, credited: run.result.credited }).toEqual({
      ...{ state: 'done', left: 0, credited: 2_003 },
    });
    expect(run.result.amounts).toEqual([{ currency: 'EUR', amount: '200.30' }]);
  });

  it('repeats a request whose answer is lost with the same key, also after it has failed for long', async () => {
    // `request` sends each lost request twice.
    const sent = stubApi(...Array.from({ length: 10 }, lost));
    const run = new CreditRun(4, idsOf(5), () => {});
    await send(run);
    expect(run).toMatchObject({ state: 'failed', left: 5, error: { code: 'unreachable' } });
    expect(sent).toHaveLength(10);
    await send(run);
    expect(run).toMatchObject({ state: 'done', left: 0, error: null, result: { credited: 5 } });
    expect(new Set(sent.map(({ key }) => key)).size).toBe(1);
  });

  it('repeats what the console may answer soon, and nothing else', async () => {
    const sent = stubApi(refused(503, 'database_away'), refused(429, 'rate_limited'));
    const run = new CreditRun(4, idsOf(5), () => {});
    await send(run);
    expect(run.state).toBe('done');
    expect(sent).toHaveLength(3);
    const again = stubApi(refused(403, 'forbidden'));
    const other = new CreditRun(4, idsOf(5), () => {});
    await send(other);
    expect(other).toMatchObject({ state: 'failed', error: { code: 'forbidden' } });
    expect(again).toHaveLength(1);
  });

  it('stops after the request under way, and continues with those that are left', async () => {
    const ids = idsOf(2_500);
    const sent = stubApi();
    let isStopped = false;
    const run: CreditRun = new CreditRun(4, ids, () => {
      if (run.sent === 0 || isStopped) return;
      isStopped = true;
      run.stop();
    });
    await send(run);
    expect(run).toMatchObject({ state: 'stopped', left: 1_500 });
    expect(sent).toHaveLength(1);
    await send(run);
    expect(run).toMatchObject({ state: 'done', left: 0, result: { credited: 2_500 } });
    expect(sent.flatMap(({ clickIds }) => clickIds)).toEqual(ids);
  });

  it('stops at once while it waits to repeat a request', async () => {
    const sent = stubApi(refused(503, 'busy'));
    const run: CreditRun = new CreditRun(4, idsOf(5), () => run.error !== null && run.stop());
    await run.send();
    expect(run).toMatchObject({ state: 'failed', left: 5 });
    expect(sent).toHaveLength(1);
  });
});

describe('refused clicks', () => {
  const click = (clickId: string) => ({ clickId, advertiserId: 4 });
  const answer: CreditAnswer = {
    ...NOTHING,
    notCharged: [
      { ...click('a'), outcome: 'invalid', reason: 'bot' },
      { ...click('b'), outcome: 'over_budget', reason: 'cap' },
      { ...click('c'), outcome: 'invalid', reason: 'bot' },
    ],
    otherAdvertiser: [{ clickId: 'd', advertiserId: 7 }],
    unknown: ['e', 'f', 'g'],
    dayClosed: ['h'],
  };

  it('are grouped by reason with the first ids, and all are in the CSV', async () => {
    stubApi(Response.json(answer));
    const run = new CreditRun(4, ['a'], () => {});
    await send(run);
    expect(
      groupRefused(run.result.refused, 2).map(({ reason, count, first }) => [reason, count, ...first]),
    ).toEqual([
      ['Not in the ledger, or rejected', 3, 'e', 'f'],
      ['Not charged: Invalid, bot', 2, 'a', 'c'],
      ['Not charged: Over budget, cap of the campaign reached', 1, 'b'],
      ['Clicks of other advertisers', 1, 'd'],
      ['Of a day that the ledger has no rows of any more: adjust the budget instead', 1, 'h'],
    ]);
    const rows: string[][] = parse(refusedCsv(run.result.refused));
    expect(rows).toEqual([
      ['clickId', 'result', 'advertiserId', 'outcome', 'reason'],
      ['a', 'not_charged', '4', 'invalid', 'bot'],
      ['b', 'not_charged', '4', 'over_budget', 'cap'],
      ['c', 'not_charged', '4', 'invalid', 'bot'],
      ['d', 'other_advertiser', '7', '', ''],
      ...['e', 'f', 'g'].map((id) => [id, 'unknown', '', '', '']),
      ['h', 'day_closed', '', '', ''],
    ]);
  });
});
