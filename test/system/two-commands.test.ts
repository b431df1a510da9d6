import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeFlagsOf } from '../../cli/start/node-flags.ts';
import { createClient } from '../../common/postgres/postgres.ts';
import { clickLink, exportRows, makeLinks } from '../support/clicks.ts';
import { runToEnd } from '../support/run-script.ts';
import { isSkippedInCiToo } from '../support/skipped.ts';
import { isAlive, stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const noAutogroups = existsSync('/proc/self/autogroup')
  ? null
  : 'The priority of sessions: the kernel has no autogroups (sched(7))';

const noProc = existsSync('/proc') ? null : 'The flags of Node: the system has no /proc';

function sessionOf(pid: number): string {
  return readFileSync(`/proc/${pid}/autogroup`, 'utf8');
}

describe('npm start', () => {
  const folder = suiteFolder();
  let stack: TestStack;

  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder, { OPS_ALLOWED_HOSTS: 'ops.example.com' }));
  });
  afterAll(async () => {
    await stack.stop();
  });

  it('answers on its operations ports under the names of OPS_ALLOWED_HOSTS, and under no other', async () => {
    const statusUnder = async (host: string, url: string) => {
      const [response] = await once(request(`${url}/healthz`, { headers: { host } }).end(), 'response');
      response.resume();
      return response.statusCode;
    };
    for (const url of [stack.adServerOpsUrl, stack.processorOpsUrl]) {
      expect(await statusUnder('ops.example.com', url)).toBe(200);
      expect(await statusUnder('www.example.com', url)).toBe(421);
    }
  });

  const remaining = async (id: number) => {
    const { stdout } = await stack.tollway('advertiser', 'list', '--json');
    const rows = JSON.parse(stdout) as { id: number; remaining: string }[];
    return rows.find((row) => row.id === id)?.remaining;
  };

  it('prints three links, and a click on each is redirected to its landing page', async () => {
    const links = stack.printed().match(/http:\/\/\S+\/c\/\S+/g) ?? [];
    expect(links).toHaveLength(3);
    for (const link of links) {
      const { status, clickId, location } = await clickLink(link);
      expect(status).toBe(302);
      expect(clickId).toMatch(/^[0-9a-f-]{36}$/);
      expect(location).toContain(`click=${clickId}`);
    }
  });

  it('leads a click on a sample ad to a page of its own port, whose command tells the outcome', async () => {
    const [link = ''] = await makeLinks(stack, 2, 1);
    const { clickId = '', location } = await clickLink(link);
    const answer = await fetch(new URL(location ?? '', link));
    expect(answer.url).toBe(`${stack.adServerUrl}/sample/shoes?click=${clickId}&ad=2`);
    expect(answer.status).toBe(200);
    const body = await answer.text();
    expect(body).toContain('You clicked an ad of Sample Shoes');
    const [, named = ''] = /npx tollway click show ([0-9a-f-]+)/.exec(body) ?? [];
    const show = () => stack.tollway('click', 'show', named, '--json');
    const isSettled = async () => JSON.parse((await show()).stdout).state === 'settled';
    await until('the click to be settled', isSettled, 10_000);
    expect(JSON.parse((await show()).stdout)).toMatchObject({ clickId, outcome: 'charged', charged: '0.40' });
  });

  it('has a page at / of each port', async () => {
    for (const [url, heading] of [
      [stack.adServerUrl, 'Ad links'],
      [stack.adServerOpsUrl, 'Tollway ad server'],
      [stack.processorOpsUrl, 'Tollway processor'],
    ] as const) {
      const answer = await fetch(`${url}/`);
      expect(answer.status).toBe(200);
      expect(await answer.text()).toContain(`<h1>${heading}</h1>`);
    }
  });

  it('charges a click to its advertiser within two seconds', async () => {
    const before = Number(await remaining(3));
    const [link = ''] = await makeLinks(stack, 3, 1);
    await clickLink(link);
    await until('the charge', async () => Number(await remaining(3)) === before - 1.5, 2_000);
  });

  it('charges an impression link that is clicked fifty times once', async () => {
    const [link = ''] = await makeLinks(stack, 1, 1);
    const nonce = (link.split('.')[3] ?? '').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    for (let count = 0; count < 50; count += 1) {
      expect(
        (
          await clickLink(link, {
            'user-agent': `Mozilla/5.0 (Windows NT 10.0; rv:${100 + (count % 7)}.0) Gecko/20100101 Firefox/128.0`,
          })
        ).status,
      ).toBe(302);
    }
    const rows = async () => (await exportRows(stack)).filter((row) => row.nonce === nonce);
    await until('fifty rows', async () => (await rows()).length === 50, 10_000);
    const outcomes = (await rows()).map((row) => `${row.outcome} ${row.reason}`);
    expect(outcomes.filter((outcome) => outcome === 'charged null')).toHaveLength(1);
    expect(new Set(outcomes)).toEqual(new Set(['charged null', 'invalid repeat', 'invalid double_click']));
  });

  it('lets redirects go first: processor and PostgreSQL have a lower priority than the ad server', () => {
    const ours = getPriority(stack.pidOf('ad-server/main.ts'));
    // A higher number is a lower priority.
    expect(getPriority(stack.pidOf('processor/main.ts'))).toBeGreaterThan(ours);
    expect(getPriority(stack.postmasterPid())).toBeGreaterThan(ours);
  });

  it.skipIf(isSkippedInCiToo(noProc))('starts each part with its flags of Node', () => {
    for (const script of ['ad-server/main.ts', 'processor/main.ts', 'console/main.ts']) {
      const [, ...words] = readFileSync(`/proc/${stack.pidOf(script)}/cmdline`, 'utf8').split('\0');
      const flags = nodeFlagsOf(script);
      expect(words.slice(0, flags.length)).toEqual(flags);
      expect(words.includes('--single-threaded-gc')).toBe(script !== 'processor/main.ts');
    }
  });

  it.skipIf(isSkippedInCiToo(noAutogroups))(
    'lowers the priority of their sessions too, also of a connection that PostgreSQL starts later',
    async () => {
      const { databaseUrl } = JSON.parse((await stack.tollway('status', '--json')).stdout);
      const client = createClient(databaseUrl, 'test');
      await client.connect();
      try {
        const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
        const others = [
          ...['processor/main.ts', 'console/main.ts'].map(stack.pidOf),
          stack.postmasterPid(),
          ...rows.map(({ pid }) => pid),
        ];
        await until('sessions with a low priority', () =>
          others.every((pid) => sessionOf(pid).endsWith(' nice 5\n')),
        );
      } finally {
        await client.end();
      }
      expect(sessionOf(stack.pidOf('ad-server/main.ts'))).toMatch(/ nice 0\n$/);
      // The session of npm start itself is that of its caller, which may have none of its own: the file is empty then.
      expect(sessionOf(stack.process.pid ?? 0)).toMatch(/^$| nice 0\n$/);
    },
  );

  it('reconciles, in full, with exit code 0', async () => {
    await until(
      'settled books',
      async () => (await stack.tollway('reconcile', '--settled', '--deep')).code === 0,
      10_000,
    );
  });

  it('refuses a second copy on the same folder with one clear line', async () => {
    const { code, stderr } = await runToEnd('cli/start/main.js', await stackEnv(folder));
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^tollway: Expected a data folder that no other npm start uses, got .*: Tollway runs on it already\n$/,
    );
  });

  it('goes on with the same data when it is started again, after draining with exit code 0', async () => {
    const before = await exportRows(stack);
    const startedAt = Date.now();
    // A Ctrl-C in a terminal comes twice, a moment apart: from the terminal and from npm.
    const stopped = stack.stop('SIGINT');
    await sleep(20);
    stack.process.kill('SIGINT');
    expect(await stopped).toBe(0);
    expect(Date.now() - startedAt).toBeLessThan(10_000);
    stack = await startStack(stack.env);
    expect((await exportRows(stack)).length).toBe(before.length);
    expect((await clickLink((await makeLinks(stack, 1, 1))[0] ?? '')).status).toBe(302);
  });

  it('brings back a part that died, and the others go on', async () => {
    const adServer = stack.pidOf('ad-server/main.ts');
    const processor = stack.pidOf('processor/main.ts');
    process.kill(processor, 'SIGKILL');
    await until('the end of the processor', () => !isAlive(processor));
    expect((await clickLink((await makeLinks(stack, 1, 1))[0] ?? '')).status).toBe(302);
    await until(
      'readiness',
      async () => (await fetch(`${stack.processorOpsUrl}/readyz`).catch(() => null))?.ok === true,
    );
    expect(stack.pidOf('ad-server/main.ts')).toBe(adServer);
    expect(stack.printed()).toContain(
      'The processor died and is started again. Clicks wait in the spool or the broker until it charges again',
    );
    await until(
      'settled books',
      async () => (await stack.tollway('reconcile', '--settled')).code === 0,
      10_000,
    );
  });

  it('ends its children when it is killed, and a new start takes over the PostgreSQL that is left', async () => {
    const children = [stack.pidOf('ad-server/main.ts'), stack.pidOf('processor/main.ts')];
    const orphan = stack.postmasterPid();
    await stack.stop('SIGKILL');
    await until('the end of the children', () => children.every((pid) => !isAlive(pid)), 12_000);
    expect(isAlive(orphan)).toBe(true);
    stack = await startStack(stack.env);
    await until(
      'settled books',
      async () => (await stack.tollway('reconcile', '--settled', '--deep')).code === 0,
      10_000,
    );
  });
});

describe('npm start with something wrong', () => {
  const folder = suiteFolder();

  it('says in one line that a port is taken', async () => {
    const env = await stackEnv(folder);
    const taken = createServer().listen(Number(env.AD_SERVER_PORT), '0.0.0.0');
    const { code, stderr } = await runToEnd('cli/start/main.js', env);
    taken.close();
    expect(code).toBe(1);
    expect(stderr).toBe(`tollway: AD_SERVER_PORT: 0.0.0.0:${env.AD_SERVER_PORT} is taken\n`);
  });

  it('says in one line that the data folder cannot be written', async () => {
    const file = join(folder, 'a-file');
    writeFileSync(file, '');
    const { code, stderr } = await runToEnd(
      'cli/start/main.js',
      await stackEnv(folder, { DATA_DIR: join(file, 'data') }),
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/^tollway: DATA_DIR: expected a folder that can be written, got .*\n$/);
  });

  it('reports all problems of the environment at once', async () => {
    const env = await stackEnv(folder, {
      AD_SERVER_PORT: 'http',
      SPOOL_SYNC: 'never',
      LINK_KEYS: 'k1:signs:c2hvcnQ',
    });
    const { code, stderr } = await runToEnd('cli/start/main.js', env);
    expect(code).toBe(1);
    for (const name of ['AD_SERVER_PORT', 'SPOOL_SYNC', 'LINK_KEYS'])
      expect(stderr).toContain(`${name}: expected`.slice(0, name.length));
    expect(stderr).not.toContain('c2hvcnQ');
  });

  it('says in one line that Kafka does not answer, and which setting says where it is', async () => {
    const env = await stackEnv(folder, { BROKER: 'kafka', KAFKA_BROKERS: '127.0.0.1:9' });
    const { code, stderr } = await runToEnd('cli/start/main.js', env);
    expect(code).toBe(1);
    expect(stderr).toMatch(/tollway: KAFKA_BROKERS: 127\.0\.0\.1:9 does not answer: .*\n$/);
  });

  it('says in one line that Kinesis does not answer, and which setting says where it is', async () => {
    const account = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
    const more = { BROKER: 'kinesis', KINESIS_ENDPOINT: 'http://127.0.0.1:9', ...account };
    const { code, stderr } = await runToEnd('cli/start/main.js', await stackEnv(folder, more));
    expect(code).toBe(1);
    expect(stderr).toMatch(/tollway: KINESIS_ENDPOINT: http:\/\/127\.0\.0\.1:9 does not answer: .*\n$/);
  });
});
