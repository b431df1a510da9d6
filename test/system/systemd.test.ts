import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeFlagsOf } from '../../cli/start/node-flags.ts';
import { settings } from '../../common/config/config.ts';
import { DRAIN_MS_MAX } from '../../common/process.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { GRANTS } from '../../migrations/grants.ts';
import { clickLink } from '../support/clicks.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { k1 } from '../support/link-samples.ts';
import { isSkipped } from '../support/skipped.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const FOLDER = join(ROOT, 'deploy', 'systemd');
const nameOf = (path: string) => basename(path);
const units = globSync('*.{service,timer}', { cwd: FOLDER }).map(nameOf).sort();
const envFiles = globSync('*.env', { cwd: FOLDER }).map(nameOf).sort();
const read = (name: string) => readFileSync(join(FOLDER, name), 'utf8');
/** The values of a key of a unit. */
const valuesOf = (unit: string, key: string) =>
  [...read(unit).matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value);
/** The variables that an environment file sets, or offers in a comment. */
const variablesOf = (name: string) =>
  [...read(name).matchAll(/^#?([A-Z_]+)=/gm)].map(([, variable = '']) => variable);

const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
const skipped = isSkipped(
  hasSystemd ? null : 'systemd-analyze is missing: install systemd to check its units',
);

describe('the units of systemd', () => {
  const folder = suiteFolder();

  it.skipIf(skipped).each(units)('%s has nothing that systemd does not know', (unit) => {
    for (const name of units) writeFileSync(join(folder, name), read(name).replaceAll('/opt/tollway', ROOT));
    // An instance has a name.
    const file = join(folder, unit.replace('@.', '@8082.'));
    writeFileSync(file, read(unit).replaceAll('/opt/tollway', ROOT));
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], {
      encoding: 'utf8',
    });
    // It names units of the machine, too.
    expect(stderr.split('\n').filter((line) => line.includes('tollway'))).toEqual([]);
    expect(status).toBe(0);
  });

  it.each(units.filter((unit) => unit.endsWith('.service')))(
    '%s runs a file that exists, as the user tollway, and may change nothing',
    (unit) => {
      const [command = ''] = valuesOf(unit, 'ExecStart');
      const script = command.split(' ').find((word) => /\.[jt]s$/.test(word)) ?? '';
      expect(() => readFileSync(join(ROOT, script))).not.toThrow();
      expect(valuesOf(unit, 'User')).toEqual(['tollway']);
      expect(valuesOf(unit, 'ProtectSystem')).toEqual(['strict']);
      expect(valuesOf(unit, 'NoNewPrivileges')).toEqual(['yes']);
      for (const file of valuesOf(unit, 'EnvironmentFile')) expect(envFiles).toContain(nameOf(file));
    },
  );

  it.each(['tollway-ad-server.service', 'tollway-processor@.service', 'tollway-console.service'])(
    '%s has the flags of Node of npm start',
    (unit) => {
      const [, ...words] = valuesOf(unit, 'ExecStart')[0]?.split(' ') ?? [];
      expect(words.slice(0, -1)).toEqual(nodeFlagsOf(words.at(-1) ?? ''));
    },
  );

  it('give a drain more time than it takes at most', () => {
    for (const unit of ['tollway-ad-server.service', 'tollway-processor@.service', 'tollway-console.service'])
      expect(Number(valuesOf(unit, 'TimeoutStopSec')[0]) * 1_000).toBeGreaterThan(DRAIN_MS_MAX);
  });
});

describe('the environment files', () => {
  it.each(envFiles)('%s names settings only', (file) => {
    expect(variablesOf(file).filter((name) => !Object.hasOwn(settings, name))).toEqual([]);
  });

  it('log in as the roles of roles.sql, each part as its own', () => {
    const roles = envFiles.flatMap((file) =>
      [...read(file).matchAll(/\/\/(\w+):PASSWORD@/g)].map(([, role]) => role),
    );
    const parts = Object.keys(GRANTS).filter((role) => role !== 'tollway_reporting');
    expect(roles.toSorted()).toEqual([...parts, 'tollway_owner'].toSorted());
  });
});

describe('an installation by these files', () => {
  const folder = suiteFolder();
  const etc = join(folder, 'etc');
  const started: ChildProcess[] = [];
  let database: TestDatabase & { drop: () => Promise<void> };
  let ports: number[] = [];

  beforeAll(async () => {
    database = await createTestDatabase({ empty: true });
    ports = await freePorts(5);
    mkdirSync(etc);
    for (const file of envFiles) writeFileSync(join(etc, file), filled(read(file)));
  });
  afterAll(async () => {
    for (const child of started) child.kill('SIGKILL');
    await database.drop();
  });

  /** An environment file with this database and key. Ports that are taken on this machine are others. */
  function filled(text: string): string {
    const [adServer, operations, , api, consoleOperations] = ports;
    return `${text
      .replace(/^DATABASE_URL=.*$/m, `DATABASE_URL='${database.url}'`)
      .replace(/^LINK_KEYS=.*$/m, `LINK_KEYS='k1:signs:${k1.secret.toString('base64url')}'`)
      .replace(/^PUBLIC_URL=.*$/m, `PUBLIC_URL=http://127.0.0.1:${adServer}`)}
AD_SERVER_PORT=${adServer}
AD_SERVER_OPS_PORT=${operations}
CONSOLE_PORT=${api}
CONSOLE_OPS_PORT=${consoleOperations}
`;
  }

  const placed = (text: string) => text.replaceAll('/opt/tollway', ROOT).replaceAll('/etc/tollway', etc);

  /** Runs what a unit runs, with its environment, as far as a shell can. */
  function runUnit(unit: string, instance = ''): ChildProcess {
    const value = (key: string) => valuesOf(unit, key).map((text) => placed(text).replaceAll('%i', instance));
    const script = [
      'set -a',
      ...value('EnvironmentFile').map((file) => `. ${file}`),
      ...value('Environment').map((line) => line.replace('/var/lib/tollway', join(folder, 'data'))),
      `exec ${value('ExecStart')[0]}`,
    ];
    const { PATH = '' } = process.env;
    const child = spawn('sh', ['-ec', script.join('\n')], { cwd: ROOT, env: { PATH }, stdio: 'pipe' });
    started.push(child);
    return child;
  }

  async function runCommand(...args: string[]) {
    const script = placed(read('tollway'));
    const child = spawn('sh', ['-c', script, 'tollway', ...args], { env: { PATH: process.env.PATH } });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    const [code] = await once(child, 'close');
    return { code, stdout };
  }

  it('has commands that know the data folder of the ad server', async () => {
    const [folderOfService] = valuesOf('tollway-ad-server.service', 'Environment').flatMap(
      (line) => /^DATA_DIR=(.+)$/.exec(line)?.[1] ?? [],
    );
    const { dataDir } = JSON.parse((await runCommand('status', '--json')).stdout) as { dataDir: string };
    expect(dataDir).toBe(folderOfService);
  });

  const isReady = (port: number) => () =>
    fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );

  it('migrates, redirects, charges, answers the API, and its books balance', {
    timeout: 60_000,
  }, async () => {
    const [, operations = 0, instance = 0, api = 0, consoleOperations = 0] = ports;
    expect((await once(runUnit('tollway-migrate.service'), 'exit'))[0]).toBe(0);
    expect((await runCommand('samples', 'add')).code).toBe(0);
    runUnit('tollway-ad-server.service');
    runUnit('tollway-processor@.service', String(instance));
    await until('the ad server', isReady(operations));
    await until('the processor', isReady(instance));
    runUnit('tollway-console.service');
    await until('the console', isReady(consoleOperations));
    expect((await fetch(`http://127.0.0.1:${api}/v1/advertisers`)).status).toBe(401);
    const { stdout: link } = await runCommand('link', '1');
    const { clickId } = await clickLink(link.trim());
    expect(clickId).not.toBeNull();
    await until('the click in the ledger', async () =>
      (await runCommand('export')).stdout.includes(clickId ?? ''),
    );
    expect((await once(runUnit('tollway-reconcile.service'), 'exit'))[0]).toBe(0);
    expect((await once(runUnit('tollway-reconcile-deep.service'), 'exit'))[0]).toBe(0);
  });
});
