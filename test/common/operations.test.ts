import dns from 'node:dns';
import { once } from 'node:events';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { isOperationsHost } from '../../common/telemetry/operations-host.ts';
import { serveOperations } from '../../common/telemetry/operations-server.ts';
import { describeProblem, OpenProblems, type Problem } from '../../common/telemetry/problems.ts';
import { readVersion } from '../../common/version.ts';

let problems: readonly Problem[] = [];
let warnings: readonly Problem[] = [];
const server = await serveOperations(
  {
    component: 'ad server',
    problems: () => problems,
    warnings: () => warnings,
    metrics: async () => 'some_metric 1\n',
  },
  { port: 0, host: '127.0.0.1', setting: 'AD_SERVER_OPS_PORT', allowedHosts: ['Ops.Example.com'] },
);
afterAll(() => void server.close());

async function get(
  path: string,
  host?: string,
  of = server,
): Promise<{ status: number | undefined; body: string }> {
  const { port } = of.address() as AddressInfo;
  const sent = request({ host: '127.0.0.1', port, path, headers: host === undefined ? {} : { host } }).end();
  const [response] = await once(sent, 'response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, body };
}

describe('an operations server', () => {
  it('lists the problems that make a component not ready, with their reasons and durations', async () => {
    expect(await get('/readyz')).toEqual({ status: 200, body: 'ready\n' });
    warnings = [{ what: 'broker', reason: 'no response', forMs: 6_200 }];
    expect(await get('/readyz')).toEqual({
      status: 200,
      body: 'ready\n- broker: no response (for 6 s)\n',
    });
    problems = [{ what: 'database', reason: 'gone\nfor good', forMs: 0 }];
    expect(await get('/readyz')).toEqual({
      status: 503,
      body: 'not ready\n- database: gone for good\n- broker: no response (for 6 s)\n',
    });
  });

  it('has a page with the component, its version and links to the other paths', async () => {
    const { status, body } = await get('/?a=b');
    expect(status).toBe(200);
    expect(body).toContain('<h1>Tollway ad server</h1>');
    expect(body).toContain(`version ${readVersion()}`);
    const paths = [...body.matchAll(/href="([^"]*)"/g)].map(([, path = '']) => path);
    expect(paths.sort()).toEqual(['/healthz', '/metrics', '/readyz']);
    for (const path of paths) expect([200, 503]).toContain((await get(path)).status);
    expect(await get('/else')).toEqual({ status: 404, body: 'Expected /, /healthz, /readyz or /metrics\n' });
  });

  it('sends its page with a policy that forbids scripts and other resources', async () => {
    const { port } = server.address() as AddressInfo;
    const { headers } = await fetch(`http://127.0.0.1:${port}/`);
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-/);
    expect(headers.get('cache-control')).toBe('no-store');
  });

  it.each(['/', '/metrics', '/readyz', '/healthz'])(
    'refuses %s under the name of a website',
    async (path) => {
      const { status, body } = await get(path, 'rebound.example.com:8082');
      expect(status).toBe(421);
      expect(body).toContain('OPS_ALLOWED_HOSTS');
      expect((await get(path, 'ops.example.com')).status).not.toBe(421);
    },
  );
});

it('an operations server accepts requests for the name that it listens on', async () => {
  // The host name of the machine, which OPS_HOST can have.
  type Answer = (error: null, addresses: readonly { address: string; family: number }[]) => void;
  const answer = (_: string, __: object, done: Answer) => done(null, [{ address: '127.0.0.1', family: 4 }]);
  const lookup = vi.spyOn(dns, 'lookup').mockImplementation(answer as unknown as typeof dns.lookup);
  const address = { port: 0, host: 'Ops-1.Example.com', setting: 'AD_SERVER_OPS_PORT', allowedHosts: [] };
  const named = await serveOperations(
    { component: 'ad server', problems: () => [], metrics: async () => '' },
    address,
  );
  lookup.mockRestore();
  try {
    expect((await get('/healthz', 'ops-1.example.com', named)).status).toBe(200);
    expect((await get('/healthz', 'ops-2.example.com', named)).status).toBe(421);
  } finally {
    named.close();
  }
});

describe('the host of an operations server', () => {
  it.each([
    [undefined, 'HTTP/1.0'],
    ['127.0.0.1:8082', 'a probe'],
    ['10.2.3.4', 'Prometheus, by service discovery'],
    ['[::1]:8082', 'IPv6'],
    ['localhost:8082', 'curl'],
    ['LOCALHOST.', 'upper case, with a final dot'],
    ['tollway.localhost', 'a name of the local machine'],
    ['processor:8082', 'a service of Docker Compose'],
    ['processor.tollway.svc:8082', 'a service of Kubernetes'],
    ['processor.tollway.svc.cluster.local.', 'a full name in Kubernetes'],
    ['db-1.ec2.internal', 'a private name'],
    ['ops.example.com', 'an allowed name'],
  ] as const)('can be %s (%s)', (header, _) => {
    expect(isOperationsHost(header, ['ops.example.com'])).toBe(true);
  });

  it.each([
    'example.com',
    'evil.com:8082',
    '127.0.0.1.nip.io',
    'localhost.evil.com',
    'svc.evil.com',
    'a.svc.evil.com',
    'a.internal.evil.com',
    'evil.notinternal',
    'evil-ops.example.com',
    'a.ops.example.com',
    '',
    'a b',
    '[evil.com]',
    'x@127.0.0.1',
    'localhost:8082:1',
  ])('cannot be "%s"', (header) => {
    expect(isOperationsHost(header, ['ops.example.com'])).toBe(false);
  });
});

it('an open problem keeps its start time when its reason changes, and ends when it is cleared', () => {
  const open = new OpenProblems();
  open.report('database', 'one');
  const [{ forMs = -1 } = {}] = open.list();
  open.report('database', 'other');
  const [problem] = open.list();
  expect(problem).toMatchObject({ what: 'database', reason: 'other' });
  expect(problem?.forMs).toBeGreaterThanOrEqual(forMs);
  expect(describeProblem({ what: 'a', reason: 'b', forMs: 61_000 })).toBe('a: b (for 61 s)');
  open.report('ledger', 'locked', 5_000);
  expect(open.list()[1]?.forMs).toBeGreaterThanOrEqual(5_000);
  open.clear('database');
  open.clear('ledger');
  expect(open.list()).toEqual([]);
});
