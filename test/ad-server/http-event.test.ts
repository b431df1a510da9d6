import { expect, it } from 'vitest';
import { readHttpEvent } from '../../ad-server/lambda/http-event.ts';
import { tokenOf } from '../../contract/find-link.ts';
import { httpApiEvent, type TestRequest } from '../functions/http-events.ts';

const TOKEN = '1.k1.7.0190163d8694739baea5966c26f8ad91.1795683700.tAg_-';

it.each<[string, TestRequest]>([
  ['as it is', {}],
  ['behind a stage with a name of its own', { stage: 'live' }],
  ['behind a custom domain with a mapping key', { mappingKey: 'clicks' }],
  ['behind a mapping key of several parts', { mappingKey: 'clicks/v1' }],
  ['behind a mapping key that looks like a link', { mappingKey: 'c' }],
  ['behind a mapping key, in a stage', { mappingKey: 'clicks', stage: 'live' }],
])('finds the link %s', (_, request) => {
  const { url } = readHttpEvent('f', httpApiEvent({ path: `/c/${TOKEN}`, query: 'a=b', ...request }));
  expect(tokenOf(url)).toBe(TOKEN);
  expect(url).toMatch(/\?a=b$/);
});

it.each([`//c/${TOKEN}`, `/c//${TOKEN}?a`, `http://go.example//c//${TOKEN}`])(
  'finds what stands in the place of a token in %s, as logs are read too',
  (target) => {
    expect(tokenOf(target)).toBe(TOKEN);
  },
);

it.each(['/', '/c', '//', '/cc/x', '/x/c/y', 'c/x', '*', '?/c/x', '/?/c/x'])(
  'finds nothing in %s',
  (target) => {
    expect(tokenOf(target)).toBeNull();
  },
);

it('keeps the text after a token, which the redirect removes', () => {
  const event = { ...httpApiEvent({ path: '/x' }), pathParameters: { token: `${TOKEN}/"` } };
  expect(tokenOf(readHttpEvent('f', event).url)).toBe(`${TOKEN}%2F%22`);
});

it('does not read a part of a token as a query', () => {
  const event = { ...httpApiEvent({ path: '/x' }), pathParameters: { token: `${TOKEN}?a#b` } };
  expect(readHttpEvent('f', event).url).toBe(`/c/${TOKEN}%3Fa%23b`);
});
