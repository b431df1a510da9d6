import { afterEach, expect, test, vi } from 'vitest';
import { type Attempts, post, request } from '../../../console/page/api.ts';

type Sent = { readonly key: string | null; readonly etag: string | null };

/** Answers each request by the next of `answers`; an error is a lost answer. Returns what was sent. */
function stubFetch(answers: readonly (Response | Error)[]): Sent[] {
  const sent: Sent[] = [];
  const left = [...answers];
  vi.stubGlobal('fetch', async (_url: string, init: RequestInit) => {
    const headers = new Headers(init.headers);
    sent.push({ key: headers.get('idempotency-key'), etag: headers.get('if-match') });
    const answer = left.shift();
    if (answer instanceof Response) return answer;
    throw answer ?? new Error('no answer left');
  });
  return sent;
}

afterEach(() => vi.unstubAllGlobals());

const lost = () => new TypeError('fetch failed');
const created = () => Response.json({ id: 1 }, { status: 201 });

test('a form that is sent again after a lost answer has the same Idempotency-Key', async () => {
  const attempts: Attempts = new Map();
  const sent = stubFetch([lost(), lost(), new Response('Gateway timeout', { status: 504 }), created()]);
  const send = () => post('/v1/advertisers/4/budget-entries', { amount: '5.00' }, attempts);
  await expect(send()).rejects.toMatchObject({ code: 'unreachable' });
  await expect(send()).rejects.toMatchObject({ status: 504 });
  expect(await send()).toEqual({ id: 1 });
  expect(sent).toHaveLength(4);
  expect(new Set(sent.map(({ key }) => key)).size).toBe(1);
});

test('after an answer, and with another body, a form sends another Idempotency-Key', async () => {
  const attempts: Attempts = new Map();
  const refused = Response.json({ code: 'bad_request', detail: 'no' }, { status: 400 });
  const sent = stubFetch([lost(), lost(), created(), refused, created(), created()]);
  const send = (amount: string) => post('/v1/links', { amount }, attempts);
  await expect(send('5.00')).rejects.toThrow();
  await send('6.00');
  await expect(send('7.00')).rejects.toThrow('no');
  await send('7.00');
  await send('7.00');
  // The lost one is sent twice by itself.
  expect(new Set(sent.map(({ key }) => key)).size).toBe(sent.length - 1);
});

test('a request without a form has a key of its own', async () => {
  const sent = stubFetch([created(), created()]);
  await post('/v1/links', {});
  await post('/v1/links', {});
  expect(sent[0]?.key).not.toBe(sent[1]?.key);
});

test('a change sends the ETag as If-Match, and no Idempotency-Key', async () => {
  const sent = stubFetch([
    Response.json({ code: 'stale_etag', detail: 'expected another' }, { status: 412 }),
  ]);
  const change = request('PATCH', '/v1/ads/9', { body: { price: '1.00' }, etag: '"old"' });
  await expect(change).rejects.toMatchObject({ status: 412, code: 'stale_etag' });
  expect(sent).toEqual([{ key: null, etag: `"old"` }]);
});
