import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LATE_MS_MAX } from '../../load-tests/load/offer-load.ts';
import type { ReplayReport } from '../../load-tests/replay/replay-report.ts';
import { makeLinks } from '../support/clicks.ts';
import { runToEnd } from '../support/run-script.ts';
import { BROWSER, stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** Recorded a minute ago, so that nothing is too old. */
const THEN = Date.now() - 60_000;

describe('npm run load -- replay', { timeout: 60_000 }, () => {
  const folder = suiteFolder();
  let stack: TestStack;
  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder));
  });
  afterAll(async () => {
    await stack.stop();
  });

  const file = (name: string, content: string | Buffer) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const replay = async (...args: string[]) => {
    const { code, stdout, stderr } = await runToEnd(
      'load-tests/main.ts',
      stack.env,
      'replay',
      ...args,
      '--json',
    );
    const report = stdout.startsWith('{') ? (JSON.parse(stdout) as ReplayReport) : null;
    return { code, stderr, report };
  };
  /** Click events of ad 1, `apartMs` one after the other, without ids. */
  const events = (count: number, apartMs: number, more = {}) =>
    Array.from({ length: count }, (_, index) =>
      JSON.stringify({ clickedAt: THEN + index * apartMs, adId: 1, userAgent: BROWSER, ...more }),
    );

  it('puts events into the broker, and charges nothing the second time, packed or not', async () => {
    const text = events(20, 1, { priceMicros: 100, campaignId: 1, advertiserId: 1 }).join('\n');
    const first = await replay(file('events.ndjson', text), '--speed', 'max');
    expect(first.stderr).toContain('not charged again');
    expect(first).toMatchObject({
      code: 0,
      report: {
        verdict: 'passed',
        format: 'events',
        lines: 20,
        replayed: 20,
        broken: 0,
        ledger: { expected: 20, missing: 0, before: 0, outcomes: { charged: 20 }, charged: { USD: '0.002' } },
        reconciliation: { balanced: true },
      },
    });
    const again = await replay(file('events.ndjson.gz', gzipSync(text)), '--speed', 'max');
    expect(again).toMatchObject({
      code: 0,
      report: { replayed: 20, ledger: { expected: 20, before: 20, outcomes: {}, charged: {} } },
    });
  });

  it('leaves broken lines out, shows them, and looks up what the others lack', async () => {
    const [one = '', two = ''] = events(2, 1, { visitorNetwork: '198.51.100.0/24' });
    const stranger = JSON.stringify({ clickedAt: THEN, adId: 999 });
    const wrong = JSON.stringify({ clickedAt: THEN, adId: 1, invalid: 'never heard of' });
    const lines = [one, '{"adId":', '', two, '{"adId":1}', wrong, stranger];
    const { code, report } = await replay(file('broken.ndjson', lines.join('\n')), '--speed', 'max');
    expect(code).toBe(0);
    expect(report).toMatchObject({
      lines: 6,
      replayed: 2,
      broken: 3,
      skipped: { 'an ad that is not in the database': 1 },
      // The price of the sample ad.
      ledger: { charged: { USD: '0.50' } },
    });
    expect(report?.brokenLines.map(({ line }) => line)).toEqual([2, 5, 6]);
    expect(report?.brokenLines[1]?.why).toContain('clickedAt, got nothing');
  });

  it("takes the ledger's own export as it is", async () => {
    const { stdout } = await stack.tollway('export');
    const rows = stdout.trim().split('\n');
    expect(rows.length).toBeGreaterThan(0);
    const unread = JSON.stringify({ ...JSON.parse(rows[0] ?? ''), clickId: null, outcome: 'rejected' });
    const path = file('ledger.ndjson.gz', gzipSync(`${stdout}${unread}\n`));
    const { code, report } = await replay(path, '--speed', 'max');
    expect(code).toBe(0);
    expect(report).toMatchObject({
      format: 'export',
      replayed: rows.length,
      skipped: { 'rejected, without a click id': 1 },
      ledger: { before: rows.length, outcomes: {}, charged: {} },
    });
    const http = await replay(path, '--speed', 'max', '--via', 'http');
    expect(http.stderr).toContain('they are charged');
    expect(http.report).toMatchObject({
      verdict: 'passed',
      http: { failed: 0, recorded: rows.length },
      ledger: { before: 0, missing: 0, expected: rows.length },
    });
  });

  it('finds the clicks in an access log, by either way', async () => {
    const links = (await makeLinks(stack, 2, 3)).map((link) => new URL(link).pathname);
    const forged = `${links[0]?.slice(0, -22)}AAAAAAAAAAAAAAAAAAAAAA`;
    const log = [
      logLine(links[0] ?? '', 302),
      logLine(links[1] ?? '', 302, 'Googlebot/2.1'),
      `www.example.com:443 ${logLine(links[2] ?? '', 302, 'Mozilla \\x225\\x22')}`,
      logLine(forged, 302),
      logLine(links[2] ?? '', 503),
      logLine('/', 200),
      'not a line of a log',
    ];
    const path = file('access.log', `${log.join('\n')}\n`);
    const expected = {
      format: 'combined',
      lines: 7,
      replayed: 3,
      broken: 1,
      brokenLines: [{ line: 7 }],
    };
    const first = await replay(path, '--speed', 'max');
    expect(first.stderr).toContain('no click ids');
    expect(first.report).toMatchObject({
      ...expected,
      skipped: {
        'not a /c/… link': 1,
        'answered 503': 1,
        'a link that is not signed with one of LINK_KEYS': 1,
      },
      ledger: { before: 0, outcomes: { charged: 2, 'invalid: bot': 1 }, charged: { USD: '0.80' } },
    });
    expect((await replay(path, '--speed', 'max')).report?.ledger).toMatchObject({ before: 3, outcomes: {} });
    const http = await replay(file('good.log', log.slice(0, 3).join('\n')), '--via', 'http');
    expect(http.report).toMatchObject({
      verdict: 'passed',
      // They are paid for already; the robot never is.
      ledger: { missing: 0, outcomes: { 'invalid: repeat': 2, 'invalid: bot': 1 }, charged: {} },
    });
  });

  it('sorts a log by its times, and takes a data set with times of its own', async () => {
    const { stdout } = await stack.tollway('link', '1', '--evergreen');
    const token = /\/c\/(\S+)/.exec(stdout)?.[1] ?? '';
    const vectors = join(import.meta.dirname, '..', 'vectors');
    const minute = /\[(.{17})/.exec(logLine('', 302))?.[1] ?? '';
    const log = readFileSync(join(vectors, 'logs', 'out-of-order.log'), 'utf8')
      .replaceAll('26/Nov/2026:10:14', minute)
      .replaceAll('TOKEN', token);
    const sorted = await replay(file('unordered.log', log), '--speed', 'max');
    expect(sorted.stderr).toContain('they are sorted first');
    expect(sorted.report?.ledger.outcomes).toEqual({ charged: 4, 'invalid: double_click': 1 });
    const columns = 'adId==1,clickedAt=timestamp,isClick=click';
    const base = new Date(THEN).toISOString();
    const path = join(vectors, 'files', 'criteo.tsv');
    const dated = await replay(path, '--columns', columns, '--base-time', base, '--speed', 'max');
    expect(dated.report).toMatchObject({
      replayed: 2,
      broken: 0,
      skipped: { 'the isClick column is 0': 1 },
      ledger: { outcomes: { charged: 2 } },
    });
  });

  it('reads CSV by its columns, quotes and all, and a bad row takes no neighbour with it', async () => {
    const time = new Date(THEN).toISOString();
    const rows = [
      'time;ad;agent;from',
      `${time};1;"Mozilla ""5""; two\r\nlines";203.0.113.9`,
      `${time.replace('T', ' ').replace('Z', '+00')};2;;203.0.113.9`,
      `${time};3;"never closed;203.0.113.9`,
      `${Math.floor(THEN / 1_000)};3;x;203.0.113.9`,
      'yesterday;1;x;203.0.113.9',
    ];
    const path = file('clicks.csv', `\u{feff}${rows.join('\r\n')}\r\n`);
    const columns = 'adId=ad,clickedAt=time,userAgent=agent,address=from';
    const { code, report } = await replay(path, '--columns', columns, '--speed', 'max');
    expect(code).toBe(0);
    expect(report).toMatchObject({ format: 'csv', lines: 5, replayed: 3, broken: 2, ledger: { missing: 0 } });
    expect(report?.brokenLines.map(({ line }) => line)).toEqual([5, 7]);
    const again = await replay(path, '--columns', columns, '--speed', 'max');
    expect(again.report?.ledger).toMatchObject({ before: 3, outcomes: {} });
    const wrong = await replay(path, '--columns', 'adId=advert,clickedAt=time');
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('Expected a column "advert" for adId in the first line, got "time", "ad"');
  });

  it('sends clicks at the recorded times, divided by the speed', async () => {
    const path = file('second.ndjson', events(40, 50).join('\n'));
    for (const via of ['broker', 'http']) {
      const { report } = await replay(path, '--speed', '4x', '--via', via);
      expect(report).toMatchObject({ replayed: 40, ledger: { missing: 0 } });
      expect(report?.seconds).toBeGreaterThan(0.48);
      // On a busy machine clicks are sent late. The replay then is not measured, which is not a failure.
      const { p99 = 0 } = report?.latenessMs ?? {};
      expect(report?.verdict).toBe(p99 > LATE_MS_MAX ? 'not_measured' : 'passed');
    }
  });

  it('says beforehand that old clicks will be rejected, and counts them', async () => {
    const old = JSON.stringify({ clickedAt: THEN - 15 * 86_400_000, adId: 1 });
    const { report, stderr } = await replay(file('old.ndjson', old), '--speed', 'max');
    expect(stderr).toContain('1 click is older than 14 days');
    // A new ledger has no day for it, an older one has.
    const rejected = expect.stringMatching(/^rejected: (too_old|id_out_of_range)$/);
    expect(report).toMatchObject({ verdict: 'passed', ledger: { missing: 0 } });
    expect(Object.keys(report?.ledger.outcomes ?? {})).toEqual([rejected]);
  });

  it('fails when a click is missing', async () => {
    const path = file('lost.ndjson', events(3, 1, { referrerHost: 'lost.example' }).join('\n'));
    process.kill(stack.pidOf('processor/main.ts'), 'SIGSTOP');
    const { code, report } = await replay(path, '--speed', 'max', '--wait', '1s');
    process.kill(stack.pidOf('processor/main.ts'), 'SIGCONT');
    expect(code).toBe(1);
    expect(report).toMatchObject({ verdict: 'failed', ledger: { missing: 3 } });
    expect((await replay(path, '--speed', 'max')).report?.ledger).toMatchObject({ missing: 0 });
  });

  it('is not measured, and says why, where nothing can be replayed', async () => {
    const path = file('some.ndjson', events(2, 1).join('\n'));
    const whole = gzipSync(events(500, 1).join('\n'));
    const stranger = createServer((_, response) => void response.writeHead(404).end()).listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    const { port } = stranger.address() as AddressInfo;
    const cases: [string[], string][] = [
      [[file('empty', '')], 'the file is empty'],
      [[file('nonsense', 'x\ny\n')], 'none of these'],
      [[file('nonsense', 'x\ny\n'), '--format', 'events'], 'line 1: Expected JSON'],
      [[file('cut.gz', whole.subarray(0, whole.length / 2))], 'truncated or damaged'],
      [[join(folder, 'nowhere')], 'the file does not exist'],
      [
        [file('forged.log', logLine('/c/1.k1.1.AAAAAAAAAAAAAAAAAAAAAA', 302))],
        'not signed with one of LINK_KEYS',
      ],
      [[path, '--via', 'http', '--target', 'http://127.0.0.1:1'], 'does not answer at http://127.0.0.1:1'],
      [[path, '--via', 'http', '--target', `http://127.0.0.1:${port}`], 'answers 404 to each of the first 2'],
      [[path, '--target', 'http://127.0.0.1:1'], '--via http'],
      [[path, '--speed', 'fast'], 'Expected a speed'],
    ];
    for (const [args, said] of cases) {
      const { code, stderr, report } = await replay(...args);
      expect(stderr).toContain(said);
      expect({ code, report }).toEqual({ code: 2, report: null });
    }
    stranger.close();
  });
});

function logLine(path: string, status: number, agent = BROWSER): string {
  const [day, month, year, time] = new Date(THEN)
    .toUTCString()
    .replace(/^\w+, /, '')
    .split(' ');
  return `203.0.113.7 - - [${day}/${month}/${year}:${time} +0000] "GET ${path} HTTP/1.1" ${status} 0 "https://example.com/a" "${agent}"`;
}

it('k6/spike.js is a script that names only modules of k6', () => {
  const path = join(import.meta.dirname, '..', '..', 'load-tests', 'k6', 'spike.js');
  const folder = temporaryFolder();
  const links = join(folder, 'links.txt');
  writeFileSync(links, 'http://localhost:8080/c/1.k1.1.AAAAAAAAAAAAAAAAAAAAAA\n');
  try {
    expect(spawnSync(process.execPath, ['--check', path]).status).toBe(0);
    const named = [...readFileSync(path, 'utf8').matchAll(/\bfrom '([^']+)'/g)].map(([, name]) => name);
    expect(named.sort()).toEqual(['k6', 'k6/data', 'k6/execution', 'k6/http', 'k6/metrics']);
    const inspected = spawnSync('k6', ['inspect', '-e', `LINKS=${links}`, path], { encoding: 'utf8' });
    // Without k6 on this machine, that is all there is to see.
    if (inspected.error === undefined)
      expect(JSON.parse(inspected.stdout)).toMatchObject({
        scenarios: { spike: { executor: 'ramping-arrival-rate', startRate: 200 } },
      });
  } finally {
  }
});
