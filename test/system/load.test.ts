import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPool } from '../../common/postgres/postgres.ts';
import type { LoadReport } from '../../load-tests/report/report.ts';
import { runScript, runToEnd } from '../support/run-script.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const SMALL = ['--base', '20', '--factor', '5', '--ramp', '1s', '--hold', '3s', '--json'];
const SMALL_SPIKE = ['spike', ...SMALL, '--no-report'];

describe('npm run load', { timeout: 90_000 }, () => {
  const folder = suiteFolder();
  let stack: TestStack;
  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder));
  });
  afterAll(async () => {
    await stack.stop();
  });

  const load = async (...args: string[]) => {
    const { code, stdout, stderr } = await runToEnd('load-tests/main.ts', stack.env, ...args);
    return {
      code,
      stderr,
      report: (stdout.startsWith('{') ? JSON.parse(stdout) : null) as LoadReport | null,
    };
  };

  /** The advertisers of load tests by status, from the list of all advertisers. */
  const testAdvertisers = async () => {
    const rows = JSON.parse((await stack.tollway('advertiser', 'list', '--all', '--json')).stdout) as {
      name: string;
      status: string;
    }[];
    const counts: Record<string, number> = { active: 0, archived: 0 };
    for (const { name, status } of rows)
      if (name.startsWith('Load test')) counts[status] = (counts[status] ?? 0) + 1;
    return counts;
  };

  const openPool = async () => {
    const { databaseUrl } = JSON.parse((await stack.tollway('status', '--json')).stdout) as {
      databaseUrl: string;
    };
    return createPool(databaseUrl, 'test', 1, () => {});
  };

  /** Waits for the advertisers of a load test by SQL, because a command for each poll takes the CPU time that the load test needs. */
  const untilAdvertisersAreActive = async () => {
    const pool = await openPool();
    const active = "select id from advertiser where name like 'Load test%' and status = 'active'";
    await until('its advertisers', async () => (await pool.query(active)).rowCount === 20, 20_000);
    await pool.end();
    expect(await testAdvertisers()).toMatchObject({ active: 20 });
  };

  it('offers a spike, finds every click in the ledger, passes, and writes a report that needs nothing else', async () => {
    const path = join(folder, 'spike.html');
    const { code, report, stderr } = await load(
      'spike',
      ...SMALL,
      '--level',
      'p99<=2000ms',
      '--level',
      'memory<=1000MB',
      '--report',
      path,
    );
    expect(stderr).not.toContain('Error');
    expect(report).toMatchObject({
      verdict: 'passed',
      scenario: 'spike',
      failed: 0,
      levels: [{ met: true }, { met: true }],
    });
    expect(report?.refused).toBeGreaterThan(0);
    expect(report?.ledger.notCharged).toBeGreaterThan(0);
    expect(report?.memory).toMatchObject({ 'ad server': {}, processor: {}, 'load generator': {} });
    // The generator is no part of the stack.
    const { 'ad server': adServer, processor } = report?.memory ?? {};
    expect(report?.levels[1]?.measured).toBe(Math.max(adServer?.maxMb ?? 0, processor?.maxMb ?? 0));
    expect(code).toBe(0);
    const page = readFileSync(path, 'utf8');
    expect(page).toContain('"scenario":"spike"');
    expect(page).not.toMatch(/<(script|link|img)[^>]+(src|href)=/);
    expect(page).not.toContain('report data');
  });

  it('leaves its report beside the data of the stack', async () => {
    const path = join(String(stack.env.DATA_DIR), 'load-stampede.html');
    expect(await load('stampede', ...SMALL)).toMatchObject({ code: 0, report: { verdict: 'passed' } });
    expect(existsSync(path)).toBe(true);
    expect(existsSync(path.replace('stampede', 'exhaust'))).toBe(false);
  });

  it('fails where a service level is not met', async () => {
    const { code, report } = await load('spike', ...SMALL, '--no-report', '--level', 'p50<=0.001ms');
    expect(code).toBe(1);
    expect(report).toMatchObject({
      verdict: 'failed',
      reasons: [expect.stringMatching(/^p50 at most 0.001 ms, was/)],
    });
  });

  it('runs budgets dry, and tells how much was delivered past them', async () => {
    // Other tests run beside it, and charges have a low priority.
    const { code, report } = await load('exhaust', ...SMALL, '--level', 'over-delivery<=5s', '--no-report');
    expect(report).toMatchObject({ verdict: 'passed', reconciliation: { balanced: true } });
    expect(code).toBe(0);
    expect(report?.ledger.notCharged).toBeGreaterThan((report?.recorded ?? 0) * 0.3);
    expect(report?.overDeliverySeconds).toBeLessThan(5);
    expect(report?.overDelivered).toBeGreaterThan(0);
  });

  it('leaves its advertisers out of lists and metrics, and archives them', async () => {
    const { stdout } = await stack.tollway('advertiser', 'list', '--json');
    expect(JSON.parse(stdout)).toHaveLength(3);
    const { active, archived } = await testAdvertisers();
    expect(active).toBe(0);
    expect(archived).toBeGreaterThan(0);
    const metrics = await (await fetch(`${stack.processorOpsUrl}/metrics`)).text();
    const advertisers = [...metrics.matchAll(/advertiser="(\d+)"/g)].map(([, id]) => Number(id));
    expect(advertisers.length).toBeGreaterThan(0);
    expect(Math.max(...advertisers)).toBe(3);
  });

  it('archives its advertisers when it is interrupted, and those of a run that was killed', async () => {
    const slow = ['spike', '--base', '20', '--factor', '1', '--ramp', '1s', '--hold', '60s', '--no-report'];
    const begin = async () => {
      const child = runScript('load-tests/main.ts', stack.env, ...slow);
      child.stdout?.resume();
      child.stderr?.resume();
      await untilAdvertisersAreActive();
      return { child, ended: once(child, 'exit') };
    };
    const interrupted = await begin();
    interrupted.child.kill('SIGINT');
    await interrupted.ended;
    expect(await testAdvertisers()).toMatchObject({ active: 0 });

    const killed = await begin();
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(await testAdvertisers()).toMatchObject({ active: 20 });
    expect(await load('spike', ...SMALL, '--no-report')).toMatchObject({ code: 0 });
    expect(await testAdvertisers()).toMatchObject({ active: 0 });
  });

  it('injects faults, in which nothing is lost', async () => {
    const { code, report } = await load('faults', ...SMALL, '--hold', '9s', '--no-report');
    expect(report?.faults.map(({ description }) => description)).toEqual([
      'a processor was killed',
      'the broker was restarted',
    ]);
    expect(report).toMatchObject({ verdict: 'passed', ledger: { missing: 0, duplicateIds: 0 } });
    expect(code).toBe(0);
  });

  it('fails when a click is missing', async () => {
    const pool = await openPool();
    // A handler that settles every fiftieth click and loses its row.
    await pool.query(
      `create function lose() returns trigger language plpgsql as
       'begin if new.sequence % 50 = 0 then return null; end if; return new; end'`,
    );
    await pool.query('create trigger lose before insert on ledger for each row execute function lose()');
    const { code, report } = await load('spike', ...SMALL, '--wait', '3s', '--no-report');
    await pool.query('drop trigger lose on ledger');
    await pool.end();
    expect(code).toBe(1);
    expect(report).toMatchObject({ verdict: 'failed' });
  });

  it('archives the advertisers of a run whose stack was killed', async () => {
    const run = runToEnd('load-tests/main.ts', stack.env, ...SMALL_SPIKE, '--hold', '60s');
    await untilAdvertisersAreActive();
    await stack.killTree();
    const { code, stderr } = await run;
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /The advertisers of this load test are not archived \(.+\)\. The next load test archives them/,
    );
    stack = await startStack(stack.env);
    expect(await testAdvertisers()).toMatchObject({ active: 20 });
    expect(await load(...SMALL_SPIKE)).toMatchObject({ code: 0 });
    expect(await testAdvertisers()).toMatchObject({ active: 0 });
  });

  it.each([
    [
      ['spike', '--target', 'http://127.0.0.1:1'],
      /^Not measured: The ad server does not answer at http:\/\/127\.0\.0\.1:1/m,
    ],
    [['spike', '--level', 'p99=3'], /Expected a service level of the form/],
    [
      ['spike', '--robots', '50%', '--forged', '60%'],
      /Expected a sum of at most 100 % for the shares of kinds, got 135 %/,
    ],
    [['spike', '--base', '90000', '--factor', '10'], /Expected at most 100000 clicks\/s/],
    [['spike', '--skew', 'x'], /Expected a number of 0–5, got "x"/],
    [['flood'], /unknown command 'flood'/],
  ])('%j is not measured, and says why', async (args, message) => {
    const { code, stderr } = await load(...args);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });

  it('is not measured on a target that answers 404 to everything', async () => {
    const server = createServer((_, response) => response.writeHead(404).end()).listen(0);
    const { port } = server.address() as AddressInfo;
    const { code, stderr } = await load('spike', ...SMALL, '--target', `http://127.0.0.1:${port}`);
    server.close();
    expect(stderr).toContain("expected the same LINK_KEYS as the ad server's");
    expect(code).toBe(2);
  });
});

it('a spike without a stack is not measured, and says how to have one', async () => {
  const folder = temporaryFolder();
  const { code, stderr } = await runToEnd('load-tests/main.ts', await stackEnv(folder), 'spike', ...SMALL);
  expect(code).toBe(2);
  expect(stderr).toContain('npm start');
});
