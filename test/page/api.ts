import { clickLink } from '../support/clicks.ts';
import { until } from '../support/until.ts';
import { pageRun } from './browser.ts';

type Options = { readonly body?: unknown; readonly key?: string };

/** Sends a request to the API of the stack, as an administrator or with another key. Returns the status and the body. */
export async function send(method: string, path: string, { body, key }: Options = {}) {
  const { stack } = pageRun();
  const response = await fetch(`${stack.consoleUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key ?? stack.adminKey}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  // biome-ignore lint/suspicious/noExplicitAny: tests read bodies of every form.
  return { status: response.status, body: text === '' ? null : (JSON.parse(text) as any) };
}

/** Like `send` with POST; returns the body. Throws an `Error` for a refusal. */
// biome-ignore lint/suspicious/noExplicitAny: tests read bodies of every form.
export async function post(path: string, body: unknown): Promise<any> {
  const answer = await send('POST', path, { body });
  if (answer.status >= 300) throw new Error(`POST ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** An advertiser with a campaign, an ad, and an evergreen link to it. */
export type TestAccount = {
  readonly name: string;
  readonly advertiserId: number;
  readonly campaignId: number;
  readonly adId: number;
  readonly link: string;
};

type AccountTerms = {
  readonly name: string;
  readonly budget: string;
  /** Price of a click. */
  readonly price: string;
  readonly campaignName?: string;
  /** By default the ad has none. */
  readonly adName?: string;
};

/** Creates an advertiser with a budget in EUR and an ad whose destination is a page of the ad server. */
export async function addAccount({ name, budget, price, campaignName = 'Spring', adName }: AccountTerms) {
  const { id: advertiserId } = await post('/v1/advertisers', {
    name,
    currency: 'EUR',
    timeZone: 'Europe/Berlin',
  });
  await post(`/v1/advertisers/${advertiserId}/budget-entries`, {
    kind: 'top_up',
    amount: budget,
    reference: name,
  });
  const { id: campaignId } = await post('/v1/campaigns', { advertiserId, name: campaignName });
  const { id: adId } = await post('/v1/ads', {
    ...{ campaignId, price, urlTemplate: destination() },
    ...(adName && { name: adName }),
  });
  const { links } = await post('/v1/links', { adId, evergreen: true, publisher: 'news' });
  const link: string = links[0];
  // Until its catalog has a new ad, the ad server answers 503. HEAD records no click.
  await until('the ad in the catalog', async () => (await clickLink(link, {}, 'HEAD')).status === 302);
  return { name, advertiserId, campaignId, adId, link } satisfies TestAccount;
}

/** A page of the ad server, so that a click needs no other server. */
export const destination = (): string => `${pageRun().stack.adServerUrl}/sample/shoes?click={click_id}`;

/** Creates an API key and returns its id and its text. */
export async function addKey(terms: {
  readonly role: 'admin' | 'manager' | 'finance' | 'viewer';
  readonly advertiserIds?: readonly number[];
}): Promise<{ readonly id: number; readonly key: string }> {
  return post('/v1/keys', { name: `Key of a ${terms.role}`, ...terms });
}
