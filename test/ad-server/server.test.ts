import { Agent, request } from 'node:http';
import { describe, expect, it } from 'vitest';
import { adServerFixture } from '../support/ad-server-fixture.ts';
import { exchange, get, rawConnection, readToEnd } from '../support/raw-http.ts';
import { counterValue, EVERGREEN_PATH, sampleAd } from '../support/redirect-fixture.ts';
import { until } from '../support/until.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('a click over HTTP', () => {
  it('gets a 302 with exactly these headers and no body', async () => {
    const { port } = await adServerFixture();
    const [answer] = await exchange(port, get(EVERGREEN_PATH));
    const clickId = answer?.headers['tollway-click'] ?? '';
    expect(clickId).toMatch(UUID);
    expect(answer).toEqual({
      status: 302,
      headers: {
        location: `https://landing.example/?click=${clickId}&ad=42&campaign=7`,
        'cache-control': 'no-store',
        'tollway-click': clickId,
        'content-length': '0',
        date: expect.stringMatching(/GMT$/),
        connection: 'close',
      },
      body: '',
    });
  });

  it('gets no response before it is recorded', async () => {
    const { port, fixture } = await adServerFixture({ recording: false });
    const socket = await rawConnection(port);
    const received: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    const answers = readToEnd(socket);
    socket.write(get(EVERGREEN_PATH));
    await until('the click to wait for its record', () => fixture.waiting.length === 1);
    // Another request is answered first, so an early response would have arrived by now.
    expect((await exchange(port, get('/nowhere')))[0]?.status).toBe(404);
    expect(received).toEqual([]);
    const { clickId } = fixture.take();
    expect((await answers)[0]).toMatchObject({ status: 302, headers: { 'tollway-click': clickId } });
  });

  it('has the truncated address of its peer in the event', async () => {
    const { port, fixture } = await adServerFixture({ recording: false });
    const answers = exchange(port, get(EVERGREEN_PATH));
    await until('the click to wait for its record', () => fixture.waiting.length === 1);
    expect(fixture.take().visitorNetwork).toBe('127.0.0.0/24');
    await answers;
  });

  it('with HEAD gets the same headers, and `none`', async () => {
    const { port } = await adServerFixture();
    const [answer] = await exchange(port, get(EVERGREEN_PATH).replace('GET', 'HEAD'));
    expect(answer).toMatchObject({
      status: 302,
      headers: { 'tollway-click': 'none', 'cache-control': 'no-store', location: expect.anything() },
      body: '',
    });
  });

  it('that is a prefetch gets a 503 that must not be cached', async () => {
    const { port } = await adServerFixture();
    const [answer] = await exchange(
      port,
      get(EVERGREEN_PATH, 'Sec-Purpose: prefetch\r\nConnection: close\r\n'),
    );
    expect(answer).toMatchObject({
      status: 503,
      headers: { 'cache-control': 'no-store', 'tollway-click': 'none' },
    });
    expect(answer?.headers.location).toBeUndefined();
  });

  it('on an ad that is not in the catalog gets a page and Retry-After', async () => {
    const { port } = await adServerFixture({ ad: undefined });
    const [answer] = await exchange(port, get(EVERGREEN_PATH));
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '5', 'tollway-click': 'none' } });
    expect(answer?.body).toContain('not ready yet');
  });

  it.each([
    ['redirect', 302],
    ['refuse', 503],
  ] as const)('that a full spool does not take gets, with SPOOL_FULL=%s, a %i', async (whenFull, status) => {
    const { port, fixture } = await adServerFixture({ whenFull, recording: false });
    const answers = exchange(port, get(EVERGREEN_PATH));
    await until('the click to wait for its record', () => fixture.waiting.length === 1);
    fixture.refuse();
    expect(await answers).toEqual([
      expect.objectContaining({ status, headers: expect.objectContaining({ 'tollway-click': 'none' }) }),
    ]);
  });

  it('whose visitor disconnects before the response does not affect others', async () => {
    const { port, fixture } = await adServerFixture({ recording: false });
    const socket = await rawConnection(port);
    socket.write(get(EVERGREEN_PATH));
    await until('the click to wait for its record', () => fixture.waiting.length === 1);
    socket.resetAndDestroy();
    await until(
      'the connection to be gone',
      async () => (await exchange(port, get('/nowhere'))).length === 1,
    );
    fixture.take();
    expect((await exchange(port, get('/nowhere')))[0]?.status).toBe(404);
  });

  it('on an ad whose destination is not valid in a header does not affect others and is not charged', async () => {
    const { port, fixture } = await adServerFixture({ recording: false });
    fixture.catalog.set(42, sampleAd({ urlTemplate: 'https://landing.example/\u2028\r\nSet-Cookie: a=b' }));
    const [answer] = await exchange(port, get(EVERGREEN_PATH));
    expect(answer?.headers['set-cookie']).toBeUndefined();
    expect(answer?.status).toBe(503);
    expect(fixture.waiting).toEqual([]);
  });
});

describe('one connection', () => {
  it('stays open for the next request', async () => {
    const { port } = await adServerFixture();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    for (let count = 0; count < 5; count += 1) {
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const sent = request({ port, host: '127.0.0.1', path: EVERGREEN_PATH, agent }, (response) => {
          ports.add(response.socket.localPort);
          response.resume().once('end', () => resolve(response.statusCode));
        });
        sent.once('error', reject).end();
      });
      expect(status).toBe(302);
    }
    agent.destroy();
    expect(ports.size).toBe(1);
  });

  it('gets the responses to pipelined requests in order', async () => {
    const { port } = await adServerFixture();
    const paths = [EVERGREEN_PATH, '/nowhere', EVERGREEN_PATH, '/c/x', EVERGREEN_PATH];
    const answers = await exchange(port, paths.map((path) => get(path, '')).join('') + get('/nowhere'));
    expect(answers.map(({ status }) => status)).toEqual([302, 404, 302, 404, 302, 404]);
    const clickIds = answers.map(({ headers }) => headers['tollway-click']).filter((id) => id !== 'none');
    expect(new Set(clickIds).size).toBe(3);
  });

  it('gets pipelined responses in order even if they are ready in another order', async () => {
    const { port, fixture } = await adServerFixture({ recording: false });
    const answers = exchange(port, get(`${EVERGREEN_PATH}?1`, '') + get(`${EVERGREEN_PATH}?2`));
    await until('both clicks to wait', () => fixture.waiting.length === 2);
    const [first, second] = fixture.waiting.splice(0);
    second?.recorded(2);
    first?.recorded(1);
    const ids = (await answers).map(({ headers }) => headers['tollway-click']);
    expect(ids).toEqual([first, second].map((click) => JSON.parse(click?.encoded ?? '{}').clickId));
  });

  it('gets the response to its click even if invalid bytes follow at once', async () => {
    const { port } = await adServerFixture();
    const answers = await exchange(port, `${get(EVERGREEN_PATH, '')}GARBAGE\r\n\r\n`);
    expect(answers[0]?.status).toBe(302);
  });
});

describe('a request without a redirect', () => {
  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND'])(
    '%s gets a 405 with an Allow header',
    async (method) => {
      const { port } = await adServerFixture();
      const body = 'a'.repeat(10_000);
      const [answer] = await exchange(
        port,
        `${method} ${EVERGREEN_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      expect(answer).toMatchObject({
        status: 405,
        headers: { allow: 'GET, HEAD', 'tollway-click': 'none', 'cache-control': 'no-store' },
      });
    },
  );

  it('is counted by kind of response', async () => {
    const { port, fixture } = await adServerFixture();
    await exchange(port, get('/nowhere'));
    await exchange(port, get(EVERGREEN_PATH));
    await exchange(port, get('/nowhere').replace('GET', 'DELETE'));
    await exchange(port, 'GARBAGE\r\n\r\n');
    for (const answer of ['not_found', 'redirect', 'wrong_method', 'bad_request']) {
      expect(await counterValue(fixture.metrics.redirects, { answer })).toBe(1);
    }
    const { values } = await fixture.metrics.redirects.get();
    // One series for each kind of response, which all start at 0.
    expect(values).toHaveLength(8);
  });
});
