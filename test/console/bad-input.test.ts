import { describe, expect, it } from 'vitest';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);
const LIST = '/v1/advertisers';

describe('a body', () => {
  it.each(['{"name":"a","name":"b"}', '{"name":"a","n\\u0061me":"a"}'])(
    'cannot have a name twice: %s',
    async (body) => {
      const detail = 'body: Expected each name of an object once, got "name" twice';
      expect(await api.send('POST', LIST, { body })).toMatchObject({ status: 400, body: { detail } });
    },
  );

  it('has to be UTF-8', async () => {
    const answer = await api.app.inject({
      method: 'POST',
      url: LIST,
      headers: { authorization: `Bearer ${api.adminKey}`, 'content-type': 'application/json' },
      payload: Buffer.from('{"name":"\xe4"}', 'latin1'),
    });
    expect(answer.statusCode).toBe(400);
    expect(answer.json().detail).toBe('body: Expected UTF-8, got other bytes');
  });

  it.each([
    [
      { 'content-type': 'application/json; charset=utf-16' },
      'Content-Type: expected the charset utf-8, got utf-16',
    ],
    [
      { 'content-type': 'application/json;Charset="latin1"' },
      'Content-Type: expected the charset utf-8, got latin1',
    ],
    [{ 'content-encoding': 'gzip' }, 'Content-Encoding: expected a body that is not compressed, got gzip'],
  ])('cannot have %j', async (headers, detail) => {
    const answer = await api.send('POST', LIST, {
      headers: headers as Record<string, string>,
      body: { name: 'x' },
    });
    expect(answer).toMatchObject({ status: 415, body: { code: 'unsupported_media_type', detail } });
  });

  it('is refused by a route that has none, unless it is empty', async () => {
    const credit = (body?: unknown) =>
      api.send('POST', '/v1/clicks/01a208fb-f934-70de-beaa-9335acbb4502/credit', { body });
    for (const body of [{ amount: '5' }, [1], '"x"', '5'])
      expect(await credit(body)).toMatchObject({
        status: 400,
        body: { detail: 'body: Expected no body, got one' },
      });
    for (const body of [undefined, {}, '']) expect((await credit(body)).status).toBe(404);
  });
});

describe('a query', () => {
  it.each(['search=%zz', 'search=%', 'search=%ff', 'search=%ED%A0%80', '%ff=1'])(
    'cannot have the escapes of %s',
    async (query) => {
      const detail = expect.stringContaining('query: Expected percent-encoded UTF-8');
      expect(await api.send('GET', `${LIST}?${query}`)).toMatchObject({ status: 400, body: { detail } });
    },
  );

  it.each(['advertisers?search=a%00', 'clicks/%00'])('or a path cannot have NUL: %s', async (url) => {
    const errors = [{ detail: expect.stringContaining('Expected a text without NUL') }];
    expect(await api.send('GET', `/v1/${url}`)).toMatchObject({ status: 400, body: { errors } });
  });

  it.each(['__proto__=1', 'constructor=1', 'toString=1'])('cannot have %s', async (query) => {
    const answer = await api.send('GET', `${LIST}?${query}`);
    expect(answer).toMatchObject({ status: 400, body: { code: 'bad_request' } });
  });

  it('can have a cursor behind the last id', async () => {
    const cursor = Buffer.from('9'.repeat(18)).toString('base64url');
    const lists = api.routes().filter((route) => /^GET \/v1\/[a-z-]+$/.test(route));
    expect(lists.length).toBeGreaterThan(3);
    for (const route of lists) {
      const url = route.replace('GET ', '');
      // Streams of events do not end.
      if (url === '/v1/events') continue;
      const answer = await api.send('GET', `${url}?cursor=${cursor}`);
      if (answer.status === 200) expect(answer.body.nextCursor, url).toBeNull();
      else expect(answer, url).toMatchObject({ status: 400, body: { code: 'bad_request' } });
    }
  });

  it.each(['0000-01-01', '0000-12-31T00:00:00Z', '2026-02-30'])('cannot have the time %s', async (since) => {
    expect(await api.send('GET', `/v1/reports?since=${since}`)).toMatchObject({ status: 400 });
  });

  it('cannot have a time whose offset moves it out of the years of RFC 3339', async () => {
    const url = `/v1/exports/clicks?since=${encodeURIComponent('9999-12-31T23:59:59-23:59')}`;
    expect(await api.send('GET', url)).toMatchObject({ status: 400, body: { code: 'bad_request' } });
  });
});

describe('a method', () => {
  it.each(['QUERY', 'OPTIONS', 'TRACE', 'PROPFIND'])(
    'that no route has, such as %s, gets 405',
    async (method) => {
      const answer = await api.send(method as 'GET', LIST, { headers: { 'content-type': 'text/plain' } });
      expect(answer).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD, POST' } });
    },
  );

  it('gets 404 for an unknown path without a look at its body', async () => {
    const options = { headers: { 'content-type': 'text/plain' }, body: 'x' };
    expect((await api.send('POST', '/v1/nothing', options)).status).toBe(404);
  });

  it.each(['/v1/events', '/v1/exports/clicks?since=2026-01-01T00:00:00Z', '/v1/exports/audit'])(
    'HEAD is refused by the stream %s, which it would read to the end',
    async (url) => {
      const answer = await api.app.inject({
        method: 'HEAD',
        url,
        headers: { authorization: `Bearer ${api.adminKey}` },
      });
      expect(answer.statusCode).toBe(405);
    },
  );
});

describe('Accept of a stream', () => {
  it.each([
    ['text/csv', 200],
    ['application/x-ndjson', 200],
    ['*/*', 200],
    ['application/json', 406],
  ])('can be of its types: %s → %i', async (accept, status) => {
    const answer = await api.app.inject({
      url: '/v1/exports/clicks?since=2026-01-01T00:00:00Z&format=csv',
      headers: { authorization: `Bearer ${api.adminKey}`, accept },
    });
    expect(answer.statusCode).toBe(status);
  });
});
