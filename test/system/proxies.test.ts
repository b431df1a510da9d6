import { writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readChunk } from '../../brokers/postgres/chunk.ts';
import type { ClickEvent } from '../../contract/click-event.ts';
import { createSigner, evergreenLink } from '../../contract/link-token.ts';
import { type Certificates, makeCertificates } from '../../emulators/kafka/certificates.ts';
import { outputOf } from '../../emulators/process/cache-folder.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { type Guard, openGuard, untilAnswers } from '../../emulators/process/guarded-process.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { k1 } from '../support/link-samples.ts';
import { codeBlocksOf, readPage } from '../support/markdown.ts';
import { runScript } from '../support/run-script.ts';
import { isSkipped } from '../support/skipped.ts';
import { stackEnv } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { askOverTls, VISITOR_NETWORK } from '../support/tls-visitor.ts';
import { until } from '../support/until.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

type Ports = { readonly tls: number; readonly adServer: number; readonly operations: number };
type Proxy = {
  readonly name: string;
  /** The language of its block in docs/running.md. */
  readonly language: string;
  /** The Debian package that brings it. */
  readonly debianPackage: string;
  readonly versionCommand: readonly [string, string];
  /** What stands in the page, and what the test puts in its place. */
  readonly replaced: (
    ports: Ports,
    certificates: Certificates,
    folder: string,
  ) => readonly [string, string][];
  /** The whole configuration around the block of the page. */
  readonly wrap: (block: string, folder: string) => string;
  readonly command: (file: string) => readonly [string, ...string[]];
};

const nginx: Proxy = {
  name: 'nginx',
  language: 'nginx',
  debianPackage: 'nginx-light',
  versionCommand: ['nginx', '-v'],
  replaced: ({ tls, adServer }, { server }) => [
    ['listen 443 ssl', `listen 127.0.0.1:${tls} ssl`],
    ['ads.example.com', 'localhost'],
    ['127.0.0.1:8080', `127.0.0.1:${adServer}`],
    ['/etc/tollway/tls/fullchain.pem', server.certPath],
    ['/etc/tollway/tls/privkey.pem', server.keyPath],
  ],
  wrap: (block, folder) => {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((what) => `${what}_temp_path ${folder}/${what};`)
      .join('\n');
    return `daemon off;\nuser root;\npid ${folder}/nginx.pid;\nevents {}\nhttp {\naccess_log off;\n${temporary}\n${block}}\n`;
  },
  command: (file) => ['nginx', '-e', 'stderr', '-c', file],
};

const caddy: Proxy = {
  name: 'Caddy',
  language: 'caddyfile',
  debianPackage: 'caddy',
  versionCommand: ['caddy', 'version'],
  replaced: ({ tls, adServer, operations }, { server }) => [
    ['ads.example.com', `https://localhost:${tls}`],
    ['127.0.0.1:8080', `127.0.0.1:${adServer}`],
    ['health_port 8081', `health_port ${operations}`],
    ['/etc/tollway/tls/fullchain.pem', server.certPath],
    ['/etc/tollway/tls/privkey.pem', server.keyPath],
  ],
  wrap: (block) => `{\n\tadmin off\n\tauto_https disable_redirects\n}\n${block}`,
  command: (file) => ['caddy', 'run', '--config', file, '--adapter', 'caddyfile'],
};

const haproxy: Proxy = {
  name: 'HAProxy',
  language: 'haproxy',
  debianPackage: 'haproxy',
  versionCommand: ['haproxy', '-v'],
  replaced: ({ tls, adServer, operations }, { server }, folder) => {
    const pem = join(folder, 'haproxy.pem');
    writeFileSync(pem, server.cert + server.key);
    return [
      ['bind :443', `bind 127.0.0.1:${tls}`],
      ['127.0.0.1:8080', `127.0.0.1:${adServer}`],
      ['check port 8081', `check port ${operations}`],
      ['/etc/tollway/tls/haproxy.pem', pem],
    ];
  },
  wrap: (block) => block,
  command: (file) => ['haproxy', '-db', '-f', file],
};

const all = await Promise.all(
  [nginx, caddy, haproxy].map(async (proxy) => {
    const { name, debianPackage, versionCommand } = proxy;
    const missing = (await outputOf(...versionCommand)) === '' ? debianPackage : null;
    const tool = missing ?? ((await outputOf('openssl', 'version')) === '' ? 'openssl' : null);
    const line = tool === null ? null : `${name} is not tested before an ad server: install ${tool}`;
    return { name, proxy, skipped: isSkipped(line) };
  }),
);

const database = testDatabase();
const folder = suiteFolder();
const paths: string[] = [];
let env: NodeJS.ProcessEnv;
let adServer: ReturnType<typeof runScript> | undefined;
let guard: Guard | undefined;
let certificates: Certificates;

beforeAll(async () => {
  if (all.every(({ skipped }) => skipped)) return;
  guard = await openGuard(join(tmpdir(), 'tollway-proxies-'));
  certificates = await makeCertificates(guard);
  const sign = createSigner([k1]);
  // A link for each test: the second click on one would be a double click.
  for (let count = 0; count < 20; count += 1)
    paths.push(`/c/${sign(evergreenLink((await addAccount(database.pool)).ad.id))}`);
  env = await stackEnv(folder, {
    DATABASE_URL: database.url,
    LINK_KEYS: `k1:signs:${k1.secret.toString('base64url')}`,
    TRUSTED_PROXIES: '127.0.0.1,::1',
  });
  adServer = runScript('ad-server/main.ts', env);
  const isReady = () =>
    operations('/readyz').then(
      ({ ok }) => ok,
      () => false,
    );
  await until('an ad server that is ready', isReady);
});

afterAll(async () => {
  adServer?.kill('SIGKILL');
  await guard?.end();
});

const operations = (path: string) => fetch(`http://127.0.0.1:${env.AD_SERVER_OPS_PORT}${path}`);

function nextPath(): string {
  const path = paths.pop();
  if (path === undefined) throw new Error('Expected one more link');
  return path;
}

/** The event of a click, once it is in the broker. */
async function eventOf(clickId: string): Promise<ClickEvent> {
  const clicks = async () => {
    const { rows } = await database.pool.query<{ id: bigint; payload: Buffer }>(
      'select id, payload from broker_chunk',
    );
    const records = rows.flatMap(({ id, payload }) => readChunk(id, payload));
    return records.flatMap((record) => (record.is === 'click' ? [record.click] : []));
  };
  return until('the click in the broker', async () =>
    (await clicks()).find((click) => click.clickId === clickId),
  );
}

/** Starts a proxy with the block of the page, and waits until it answers with what the ad server says. */
async function startProxy(proxy: Proxy, own: Guard): Promise<number> {
  const [tls = 0] = await freePorts(1);
  const ports = { tls, adServer: Number(env.AD_SERVER_PORT), operations: Number(env.AD_SERVER_OPS_PORT) };
  let [block = ''] = codeBlocksOf(readPage('docs/running.md'), proxy.language);
  for (const [from, to] of proxy.replaced(ports, certificates, own.folder)) {
    expect(block).toContain(from);
    block = block.replaceAll(from, to);
  }
  const file = join(own.folder, 'configuration');
  writeFileSync(file, proxy.wrap(block, own.folder));
  const [program, ...args] = proxy.command(file);
  const running = await own.run(program, args, { XDG_DATA_HOME: own.folder, XDG_CONFIG_HOME: own.folder });
  const answers = async () => {
    const { status } = await askOverTls(certificates.authority.cert, tls, '/c/no-link');
    // That of a path that is no link. A proxy that does not know yet whether its ad server is well answers 502 or 503.
    if (status !== 404) throw new Error(`Expected the 404 of the ad server, got ${status}`);
  };
  const ended = async () => (running.hasEnded() ? running.logTail() : null);
  await untilAnswers(proxy.name, answers, ended, 15_000);
  return tls;
}

describe.each(all)('$name before an ad server, as docs/running.md has it', ({ proxy, skipped }) => {
  let own: Guard;
  let port = 0;
  const request = (path: string, options: Parameters<typeof askOverTls>[3] = {}) =>
    askOverTls(certificates.authority.cert, port, path, options);

  beforeAll(async () => {
    if (skipped) return;
    own = await openGuard(join(tmpdir(), 'tollway-proxy-'));
    port = await startProxy(proxy, own);
  });
  afterAll(() => own?.end());

  it.skipIf(skipped)('passes on the redirect, and the address of the visitor', async () => {
    const { status, headers } = await request(nextPath());
    const clickId = String(headers['tollway-click']);
    expect(status).toBe(302);
    expect(clickId).toMatch(UUID);
    expect(headers.location).toBe(`https://example.com/?click=${clickId}`);
    expect(headers['cache-control']).toBe('no-store');
    expect(await eventOf(clickId)).toMatchObject({ visitorNetwork: VISITOR_NETWORK, invalid: null });
  });

  it.skipIf(skipped).each([
    ['another address', '203.0.113.9'],
    ['an address behind a trusted one', '203.0.113.9, 127.0.0.1'],
    ['something that is no address', 'unknown, "'],
  ])('takes no X-Forwarded-For of the visitor for true: %s', async (_, forged) => {
    const { headers } = await request(nextPath(), { headers: { 'x-forwarded-for': forged } });
    const event = await eventOf(String(headers['tollway-click']));
    expect(event.visitorNetwork).toBe(VISITOR_NETWORK);
  });

  it.skipIf(skipped)('answers HEAD without recording a click', async () => {
    const { status, headers, body } = await request(nextPath(), { method: 'HEAD' });
    expect({ status, body }).toEqual({ status: 302, body: '' });
    expect(headers['tollway-click']).toBe('none');
    expect(headers.location).toContain('https://example.com/?click=');
  });

  it.skipIf(skipped)('keeps connections: the one of the visitor, and its own to the ad server', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const path = nextPath();
    try {
      const reused: boolean[] = [];
      for (let count = 0; count < 3; count += 1) reused.push((await request(path, { agent })).isReused);
      expect(reused).toEqual([false, true, true]);
    } finally {
      agent.destroy();
    }
    // Once a second the gauge is measured anew: connections of requests that have ended.
    const kept = async () => {
      const text = await operations('/metrics').then((response) => response.text());
      return Number(/^tollway_connections\{.*port="public".*\} (\d+)$/m.exec(text)?.[1] ?? 0);
    };
    await until('a connection that is kept', async () => (await kept()) > 0, 5_000);
  });
});
