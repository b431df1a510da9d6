import { describe, expect, it } from 'vitest';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);
const URL_OF_LIST = '/v1/advertisers';

describe('a request that no route takes', () => {
  it('gets 404 for an unknown path', async () => {
    expect(await api.send('GET', '/v1/nothing')).toMatchObject({
      status: 404,
      headers: { 'content-type': 'application/problem+json; charset=utf-8' },
      body: {
        code: 'not_found',
        title: 'Not found',
        detail: 'Expected a path of /v1/openapi.json, got /v1/nothing',
      },
    });
  });

  it('gets 405 with the methods of the path', async () => {
    const answer = await api.send('DELETE', '/v1/advertisers/1');
    expect(answer).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } });
    expect(String(answer.headers.allow).split(', ').sort()).toEqual(['GET', 'HEAD', 'PATCH']);
  });

  it('gets 400 for a path with a broken escape', async () => {
    expect(await api.send('GET', '/v1/advertisers/%zz')).toMatchObject({
      status: 400,
      body: { code: 'bad_request' },
    });
  });
});

describe('a body', () => {
  it('is at most 1 MiB', async () => {
    const body = { name: 'x'.repeat(1_048_576) };
    expect(await api.send('POST', URL_OF_LIST, { body })).toMatchObject({
      status: 413,
      body: { code: 'body_too_large' },
    });
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/xml'])(
    'cannot be %s',
    async (type) => {
      const answer = await api.send('POST', URL_OF_LIST, {
        headers: { 'content-type': type },
        body: 'name=x',
      });
      expect(answer).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } });
    },
  );

  it('can name its charset', async () => {
    const headers = { 'content-type': 'application/json; charset=utf-8' };
    expect((await api.send('POST', URL_OF_LIST, { headers, body: { name: 'Ä' } })).status).toBe(201);
  });

  it('cannot have a field that JavaScript inherits', async () => {
    const answer = await api.send('POST', URL_OF_LIST, {
      body: '{"name":"x","__proto__":{"status":"paused"}}',
    });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/__proto__' }] } });
  });

  it('can be nested deeply and is refused all the same', async () => {
    const body = `{"name":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect(await api.send('POST', URL_OF_LIST, { body })).toMatchObject({
      status: 400,
      body: { detail: 'body/name: Expected a string, got an array' },
    });
  });
});

describe('Accept', () => {
  it.each(['application/json', '*/*', 'application/*', 'text/html, */*;q=0.1', ' '])(
    'can be %j',
    async (accept) => {
      expect((await api.send('GET', URL_OF_LIST, { headers: { accept } })).status).toBe(200);
    },
  );

  it.each(['text/html', 'application/xml', 'application/json;q=0, */*'])('cannot be %j', async (accept) => {
    const answer = await api.send('GET', URL_OF_LIST, { headers: { accept } });
    expect(answer).toMatchObject({
      status: 406,
      body: { code: 'not_acceptable', detail: `Accept: expected application/json, got ${accept}` },
    });
  });
});

describe('query parameters', () => {
  it('are refused by a route that has none', async () => {
    const { body } = await api.send('POST', URL_OF_LIST, { body: { name: 'x' } });
    const answer = await api.send('GET', `/v1/advertisers/${body.id}?fields=id`);
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/fields' }] } });
  });
});
