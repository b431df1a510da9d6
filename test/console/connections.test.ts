import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { testDatabase } from '../support/database.ts';
import { exchange, get, rawConnection, readToEnd } from '../support/raw-http.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database, { CONSOLE_REQUESTS_PER_SECOND: '1000' });
let port = 0;
beforeAll(async () => {
  await api.app.listen({ port: 0, host: '127.0.0.1' });
  port = (api.app.server.address() as AddressInfo).port;
});

const authorization = () => `Authorization: Bearer ${api.adminKey}\r\n`;
const post = (headers: string, body: string) =>
  `POST /v1/advertisers HTTP/1.1\r\nHost: x\r\n${authorization()}Content-Type: application/json\r\n${headers}\r\n${body}`;

/** The one answer to these bytes, with its body parsed. */
async function answerTo(bytes: string) {
  const answers = await exchange(port, bytes);
  expect(answers).toHaveLength(1);
  const [answer] = answers;
  return { ...answer, body: JSON.parse(answer?.body ?? '') as { code: string } };
}

const problem = (status: number, code: string) => ({
  status,
  headers: { 'content-type': 'application/problem+json; charset=utf-8' },
  body: { status, code, type: `urn:tollway:error:${code}` },
});

describe('bytes that are no request', () => {
  it.each([
    ['a TLS client', '\x16\x03\x01\x02\x00\x01'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['an unknown method', get('/v1/advertisers').replace('GET', 'FOO')],
    ['a space in the path', get('/v1/advertisers?search=a b')],
    ['a header without a colon', get('/v1/advertisers', 'x\r\n')],
  ])('get 400: %s', async (_, bytes) => {
    expect(await answerTo(bytes)).toMatchObject(problem(400, 'bad_request'));
  });

  it('get 400: a length and chunks at once', async () => {
    const bytes = post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n');
    expect(await answerTo(bytes)).toMatchObject(problem(400, 'bad_request'));
  });

  it('get 400: a broken chunk', async () => {
    expect(await answerTo(post('Transfer-Encoding: chunked\r\n', 'zz\r\n'))).toMatchObject(
      problem(400, 'bad_request'),
    );
  });

  it.each([
    ['URL', get(`/v1/advertisers?search=${'a'.repeat(20_000)}`)],
    ['header', get('/v1/advertisers', `X: ${'a'.repeat(20_000)}\r\n`)],
  ])('get 431: a long %s', async (_, bytes) => {
    expect(await answerTo(bytes)).toMatchObject(problem(431, 'headers_too_large'));
  });
});

describe('a slow client', () => {
  it('gets 408 if its headers take longer than 10 s', { timeout: 20_000 }, async () => {
    const socket = await rawConnection(port);
    socket.write('GET /v1/advertisers HTTP/1.1\r\nHost: x\r\n');
    const drip = setInterval(() => socket.write('X: y\r\n'), 500);
    const [answer] = await readToEnd(socket).finally(() => clearInterval(drip));
    expect({ ...answer, body: JSON.parse(answer?.body ?? '') }).toMatchObject(
      problem(408, 'request_timeout'),
    );
  });

  it('has 30 s for a whole request', () => {
    expect(api.app.server.requestTimeout).toBe(30_000);
  });

  it('cannot send chunks for ever', async () => {
    const socket = await rawConnection(port);
    const answers = readToEnd(socket);
    socket.write(post('Transfer-Encoding: chunked\r\n', ''));
    const chunk = `10000\r\n${'a'.repeat(65_536)}\r\n`;
    for (let sent = 0; sent < 40 && socket.writable; sent += 1) {
      socket.write(chunk);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect((await answers)[0]).toMatchObject({ status: 413 });
  });
});

describe('many connections', () => {
  it('can pipeline requests', async () => {
    const socket = await rawConnection(port);
    const request = `GET /v1/advertisers HTTP/1.1\r\nHost: x\r\n${authorization()}`;
    socket.write(`${`${request}\r\n`.repeat(49)}${request}Connection: close\r\n\r\n`);
    const answers = await readToEnd(socket);
    expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200));
  });

  it('are answered, 1 000 at once', { timeout: 60_000 }, async () => {
    const sockets = await Promise.all(Array.from({ length: 1_000 }, () => rawConnection(port)));
    const answers = sockets.map((socket) => readToEnd(socket));
    for (const socket of sockets) socket.write(get('/v1/nothing'));
    const statuses = (await Promise.all(answers)).map(([answer]) => answer?.status);
    expect(new Set(statuses)).toEqual(new Set([404]));
    const after = await rawConnection(port);
    after.write(`GET /v1/advertisers HTTP/1.1\r\nHost: x\r\n${authorization()}Connection: close\r\n\r\n`);
    expect((await readToEnd(after))[0]).toMatchObject({ status: 200 });
  });

  it('that break in the middle of a request leave the API working', async () => {
    for (const bytes of [post('Content-Length: 50\r\n', '{"n'), 'GET /v1/adv', post('', '')]) {
      const socket = await rawConnection(port);
      socket.write(bytes);
      socket.resetAndDestroy();
      await once(socket, 'close');
    }
    expect((await api.send('GET', '/v1/advertisers')).status).toBe(200);
  });
});
