import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { NODE_FLAGS, nodeFlagsOf } from '../../cli/start/node-flags.ts';
import { parseConfig, settings } from '../../common/config/config.ts';
import { partAddresses } from '../../common/part-addresses.ts';
import { DRAIN_MS_MAX } from '../../common/process.ts';
import { isSkippedInCiToo } from '../support/skipped.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

type Service = {
  image: string;
  build?: string;
  command?: string[];
  user?: string;
  privileged?: boolean;
  read_only?: boolean;
  init?: boolean;
  cap_drop?: string[];
  security_opt?: string[];
  stop_grace_period?: string;
  restart?: string;
  profiles?: string[];
  environment?: Record<string, string | number>;
  ports?: string[];
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
};

// A parsing boundary: the tests below check the fields that they use.
const compose = parse(read('docker-compose.yml'), { merge: true }) as { services: Record<string, Service> };
const services = Object.entries(compose.services);
const dockerfile = read('Dockerfile');
const { version } = JSON.parse(read('package.json')) as { version: string };
const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, { version: string }> };

const OUR_IMAGE = `tollway:${version}`;
const ours = services.filter(([, { image }]) => image === OUR_IMAGE);
const words = (keyword: string) =>
  [...dockerfile.matchAll(new RegExp(`^${keyword} (.*)$`, 'gm'))].map(([, rest = '']) => rest.split(' '));

/** The services whose successful end other services wait for. */
const oneShots = new Set(
  services.flatMap(([, { depends_on = {} }]) =>
    Object.entries(depends_on)
      .filter(([, { condition }]) => condition === 'service_completed_successfully')
      .map(([name]) => name),
  ),
);

describe('docker-compose.yml', () => {
  it('has every component, with two ad servers and two processors', () => {
    expect(Object.keys(compose.services)).toEqual(
      expect.arrayContaining([
        ...['ad-server', 'processor', 'console', 'migrate', 'topics', 'tollway'],
        ...['postgres', 'kafka', 'kinesis', 'prometheus', 'alertmanager', 'grafana'],
        ...['postgres-exporter', 'kafka-exporter'],
      ]),
    );
    const replicas = (name: string) =>
      (compose.services[name] as { deploy?: { replicas?: number } }).deploy?.replicas;
    expect([replicas('ad-server'), replicas('processor')]).toEqual([2, 2]);
    expect(compose.services.kinesis?.profiles).toEqual(['kinesis']);
  });

  it('pins every image to an exact version', () => {
    for (const [name, { image }] of services)
      expect(image, name).toMatch(/^[a-z0-9./-]+:v?\d+(\.\d+){1,2}(-[a-z0-9.-]+)?$/);
  });

  it('builds the Tollway image once and never pulls it', () => {
    expect(ours.filter(([, { build }]) => build !== undefined).map(([name]) => name)).toEqual(['migrate']);
    for (const [name, service] of ours) expect(service, name).toMatchObject({ pull_policy: 'never' });
  });

  it('has a health check for every service except one-shot services and the command line', () => {
    for (const [name, { healthcheck, profiles, restart }] of services) {
      if (oneShots.has(name)) expect(restart, name).toBe('no');
      else if (!profiles?.includes('cli')) expect(healthcheck?.test, name).toBeDefined();
    }
    expect([...oneShots].sort()).toEqual(['migrate', 'samples', 'topics']);
  });

  it('checks the readiness of each component on its own operations port', () => {
    const config = parseConfig(environmentOf('ad-server'));
    const probeUrl = (name: string) => compose.services[name]?.healthcheck?.test.at(-1);
    expect(probeUrl('ad-server')).toBe(`http://127.0.0.1:${config.AD_SERVER_OPS_PORT}/readyz`);
    expect(probeUrl('processor')).toBe(`http://127.0.0.1:${config.PROCESSOR_OPS_PORT}/readyz`);
    expect(probeUrl('console')).toBe(`http://127.0.0.1:${config.CONSOLE_OPS_PORT}/readyz`);
  });

  it('gives the Tollway services no capability and a read-only file system', () => {
    expect(ours.length).toBeGreaterThan(4);
    for (const [name, service] of ours) {
      expect(service, name).toMatchObject({
        read_only: true,
        init: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
      });
      expect(service.user, name).toBeUndefined();
      expect(service.privileged, name).toBeUndefined();
    }
  });

  it('kills the Tollway services only after their longest drain', () => {
    for (const [name, { stop_grace_period }] of ours)
      expect(Number.parseInt(stop_grace_period ?? '', 10) * 1_000, name).toBeGreaterThan(DRAIN_MS_MAX);
  });

  it('sets only existing settings, to valid values', () => {
    for (const [name, { environment = {} }] of ours) {
      const unknown = Object.keys(environment).filter(
        (key) => !(key in settings) && !/^AWS_(REGION|ACCESS_KEY_ID|SECRET_ACCESS_KEY)$/.test(key),
      );
      expect(unknown, name).toEqual([]);
      expect(() => parseConfig(environmentOf(name)), name).not.toThrow();
    }
  });

  it('runs the parts with the flags of npm start', () => {
    for (const part of ['ad-server', 'processor', 'console']) {
      const script = `${part}/main.ts`;
      const { command = [] } = compose.services[part] ?? {};
      expect([...command.slice(0, -1), ...NODE_FLAGS, command.at(-1)]).toEqual([
        ...nodeFlagsOf(script),
        script,
      ]);
    }
  });

  it('uses a link key with the id `trial`, which every link contains', () => {
    expect(parseConfig(environmentOf('tollway')).LINK_KEYS).toMatchObject([{ id: 'trial', state: 'signs' }]);
  });

  it('publishes only the redirect port beyond the loopback interface', () => {
    for (const [name, { ports = [] }] of services) {
      if (name === 'ad-server') expect(ports.map((port) => port.split(':').at(-1))).toEqual(['8080']);
      else for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:/);
    }
  });

  it('disables the automatic creation of Kafka topics', () => {
    expect(compose.services.kafka?.environment).toMatchObject({ KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false' });
  });
});

describe('the Dockerfile', () => {
  it('has the Node version that npm ci installs', () => {
    const node = lock.packages['node_modules/node']?.version;
    expect(new Set(words('FROM').map(([image]) => image))).toEqual(new Set([`node:${node}-bookworm-slim`]));
  });

  it('sets a numeric user that is not root', () => {
    expect(words('USER').at(-1)?.[0]).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  });

  it('passes the same Node flags as npm start', () => {
    const flags = words('ENV')
      .join(' ')
      .match(/--[\w-]+=\w+/g);
    expect(flags).toEqual(NODE_FLAGS);
  });

  it('copies every folder that .dockerignore allows, and every folder that runs in production', () => {
    const copied = words('COPY')
      .filter(([first]) => !first?.startsWith('--from'))
      .flatMap((paths) => paths.slice(0, -1).map((path) => path.split('/')[0] ?? ''));
    const allowed = read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    expect(new Set(copied)).toEqual(new Set(allowed));
    const folders = globSync('*/*.ts', { cwd: ROOT, exclude: ['node_modules', '.ci'] }).map(
      (path) => path.split('/')[0] ?? '',
    );
    expect(copied).toEqual(
      expect.arrayContaining(
        [...new Set(folders)].filter((folder) => !['deploy', 'load-tests', 'test'].includes(folder)),
      ),
    );
  });
});

describe('Prometheus and Grafana', () => {
  type Scrape = {
    job_name: string;
    dns_sd_configs?: { names: string[]; port: number }[];
    static_configs?: { targets: string[] }[];
  };
  const scrapesOf = (path: string) => (parse(read(path)) as { scrape_configs: Scrape[] }).scrape_configs;

  it('scrape the operations ports of the containers', () => {
    const config = parseConfig(environmentOf('ad-server'));
    const found = scrapesOf('deploy/prometheus/prometheus.yml').flatMap(({ job_name, dns_sd_configs = [] }) =>
      dns_sd_configs.map(({ names, port }) => [job_name, names, port] as const),
    );
    expect(found).toEqual([
      ['ad-server', ['ad-server'], config.AD_SERVER_OPS_PORT],
      ['processor', ['processor'], config.PROCESSOR_OPS_PORT],
      ['console', ['console'], config.CONSOLE_OPS_PORT],
    ]);
  });

  it('scrape the exporters, and send alerts to Alertmanager', () => {
    const { alerting } = parse(read('deploy/prometheus/prometheus.yml')) as {
      alerting: { alertmanagers: { static_configs: { targets: string[] }[] }[] };
    };
    const exporters = scrapesOf('deploy/prometheus/prometheus.yml').flatMap(
      ({ static_configs = [] }) => static_configs,
    );
    const addresses = [...exporters, ...alerting.alertmanagers.flatMap((one) => one.static_configs)].flatMap(
      ({ targets }) => targets,
    );
    expect(addresses).toHaveLength(3);
    for (const address of addresses) {
      const [name = '', port] = address.split(':');
      expect(compose.services[name]?.healthcheck?.test.at(-1)).toContain(`http://127.0.0.1:${port}/`);
    }
  });

  it('scrape the default addresses of npm start', () => {
    const { adServerOpsUrl, processorOpsUrl, consoleOpsUrl } = partAddresses(parseConfig({}));
    expect(
      scrapesOf('deploy/prometheus/local.yml').map(({ job_name, static_configs = [] }) => [
        job_name,
        ...static_configs.flatMap(({ targets }) => targets),
      ]),
    ).toEqual([
      ['ad-server', new URL(adServerOpsUrl).host],
      ['processor', new URL(processorOpsUrl).host],
      ['console', new URL(consoleOpsUrl).host],
    ]);
  });
});

/** The status and output of a tool that fails; empty if it succeeds. */
function failureOf(tool: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(tool, args, { cwd: ROOT, encoding: 'utf8' });
  return status === 0 ? '' : `${status} ${error ?? ''}\n${stdout}\n${stderr}`;
}

// Needs no running Docker engine.
describe('docker, where it is installed', () => {
  const withoutCompose = failureOf('docker', 'compose', 'version') !== '';
  it.skipIf(isSkippedInCiToo(withoutCompose ? 'docker compose is missing' : null))(
    'compose accepts the file',
    () => {
      expect(failureOf('docker', 'compose', '--profile', '*', 'config', '--quiet')).toBe('');
    },
  );
});

/** The environment that compose gives a service if no variable is set: the defaults. */
function environmentOf(name: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(compose.services[name]?.environment ?? {}).map(([key, value]) => [
      key,
      String(value).replace(/\$\{\w+:-([^}]*)\}/g, '$1'),
    ]),
  );
}
