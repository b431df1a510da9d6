import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import type { IScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject';
import type { IPodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor';
import type { IStatefulSet } from 'kubernetes-models/apps/v1/StatefulSet';
import type { ICronJob } from 'kubernetes-models/batch/v1/CronJob';
import type { IIngress } from 'kubernetes-models/networking.k8s.io/v1/Ingress';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import type { IContainer } from 'kubernetes-models/v1/Container';
import type { ISecret } from 'kubernetes-models/v1/Secret';
import type { IService } from 'kubernetes-models/v1/Service';
import { describe, expect, it } from 'vitest';
import { NODE_FLAGS, nodeFlagsOf } from '../../cli/start/node-flags.ts';
import { parseConfig, settings } from '../../common/config/config.ts';
import { DRAIN_MS_MAX } from '../../common/process.ts';
import { isSkippedInCiToo } from '../support/skipped.ts';
import {
  containerOf,
  containers,
  FOLDER,
  files,
  given,
  knative,
  kustomization,
  kustomizations,
  named,
  ofKind,
  parseManifests,
  paths,
  portNames,
  ROOT,
  read,
  readRoot,
  selected,
  templates,
  type Workload,
  workloads,
} from './kubernetes-manifests.ts';
import { kafkaSource, type Manifest, validateManifest } from './kubernetes-schemas.ts';

const { version } = JSON.parse(readRoot('package.json')) as { version: string };
const services = ofKind<IService>('Service').filter(({ apiVersion }) => apiVersion === 'v1');
const example = named<ISecret>('Secret', 'tollway').stringData ?? {};
/** A secret with real values. */
const secrets: Readonly<Record<string, string>> = {
  DATABASE_URL: 'postgres://tollway:secret@postgres.example.com/tollway',
  LINK_KEYS: 'k1:signs:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8',
  KAFKA_USERNAME: 'tollway',
  KAFKA_PASSWORD: 'secret',
};
const secretsOf = ({ env = [] }: IContainer) =>
  Object.fromEntries(env.map(({ name }) => [name, secrets[name]]));
const config = parseConfig({ ...given, ...secrets });

describe('the manifests', () => {
  it.each(paths)('%s is valid against the schemas, in all fields', (path) => {
    for (const manifest of parseManifests(read(path))) {
      expect(() => validateManifest(manifest), `${manifest.kind} ${manifest.metadata.name}`).not.toThrow();
    }
  });

  it('are checked against schemas that reject a mistyped field', () => {
    const probe = parseManifests(read('ad-server.yaml'))[0] as Manifest & {
      spec: { template: { spec: object } };
    };
    Object.assign(probe.spec.template.spec, { terminationGracePeriodSecond: 30 });
    expect(() => validateManifest(probe)).toThrow('/spec/template/spec/terminationGracePeriodSecond');
  });

  it('have allowed values in fields that the models do not have', () => {
    const [probe] = parseManifests(read('keda/scaled-object.yaml')) as [
      Manifest & { spec: { fallback: object } },
    ];
    Object.assign(probe.spec.fallback, { behavior: 'currentReplicasIfhigher' });
    expect(() => validateManifest(probe)).toThrow('/spec/fallback/behavior');
  });

  it('are all in a kustomization, except the example secret', () => {
    const listed = kustomizations.flatMap((path) => {
      const { resources = [], components = [], configurations = [] } = kustomization(path);
      for (const component of components)
        expect(existsSync(join(FOLDER, dirname(path), component, 'kustomization.yaml')), component).toBe(
          true,
        );
      return [...resources, ...configurations].map((resource) => normalize(join(dirname(path), resource)));
    });
    expect([...listed, ...kustomizations, 'secret.example.yaml'].sort()).toEqual(files);
  });

  it('run the image of Tollway with the version of this package', () => {
    const { images = [] } = kustomization('common/kustomization.yaml');
    expect(images).toMatchObject([{ name: 'tollway', newTag: version }]);
    for (const [name, { image }] of containers) expect(image, name).toBe('tollway');
  });

  it('run existing files in folders of the image, with the flags of npm start', () => {
    const copied = [...readRoot('Dockerfile').matchAll(/^COPY (\S+) \1$/gm)];
    for (const [name, { args = [], command }] of containers) {
      const at = args.findIndex((word) => /\.[jt]s$/.test(word));
      const [entry = '', verb] = args.slice(at);
      expect([...args.slice(0, at), ...NODE_FLAGS], name).toEqual(nodeFlagsOf(entry));
      expect(command, name).toBeUndefined();
      expect(existsSync(join(ROOT, entry)), entry).toBe(true);
      expect(copied.map(([, folder]) => folder)).toContain(entry.split('/')[0]);
      if (entry === 'cli/main.js') expect(existsSync(join(ROOT, `cli/commands/${verb}.ts`)), verb).toBe(true);
    }
  });

  it('set only existing settings, to valid values', () => {
    expect(Object.keys(given).filter((name) => !(name in settings))).toEqual([]);
    for (const [name, from] of containers) {
      expect(from.envFrom, name).toEqual([{ configMapRef: { name: 'settings' } }]);
      expect(() => parseConfig({ ...given, ...secretsOf(from) }), name).not.toThrow();
      for (const { name: variable, valueFrom } of from.env ?? []) {
        expect(settings, name).toHaveProperty(variable);
        expect(valueFrom?.secretKeyRef, name).toMatchObject({ name: 'tollway', key: variable });
        expect(example, name).toHaveProperty(variable);
      }
      expect(secretsOf(from), name).toHaveProperty('DATABASE_URL');
    }
  });

  it('give the link keys only to the ad servers and the consoles', () => {
    const holders = containers.filter(([, from]) => 'LINK_KEYS' in secretsOf(from));
    expect(holders.map(([name]) => name)).toEqual(['ad-server', 'console']);
  });

  it('have an example secret with which no process starts', () => {
    expect(Object.keys(example).sort()).toEqual(Object.keys(secrets).sort());
    for (const name of ['DATABASE_URL', 'LINK_KEYS'])
      expect(() => parseConfig({ ...given, ...secrets, [name]: example[name] })).toThrow(name);
  });

  it('request only privileges that the components need', () => {
    for (const [name, { spec }] of templates) {
      expect(spec, name).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
      for (const { securityContext, resources } of [
        ...(spec?.initContainers ?? []),
        ...(spec?.containers ?? []),
      ]) {
        expect({ ...spec?.securityContext, ...securityContext }, name).toMatchObject({
          runAsNonRoot: true,
          runAsUser: 1000,
          seccompProfile: { type: 'RuntimeDefault' },
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        expect(Object.keys(resources?.requests ?? {}), name).toEqual(['cpu', 'memory']);
        expect(Object.keys(resources?.limits ?? {}), name).toEqual(['memory']);
      }
    }
  });
});

describe('ad servers, processors and consoles', () => {
  it('select their own pods, and spread them', () => {
    for (const workload of workloads) {
      const { selector, template } = workload.spec;
      expect(selected(selector?.matchLabels)).toEqual([workload]);
      expect(template.spec?.topologySpreadConstraints?.length).toBeGreaterThan(0);
      for (const { labelSelector } of template.spec?.topologySpreadConstraints ?? [])
        expect(selected(labelSelector?.matchLabels)).toEqual([workload]);
    }
  });

  it('have a disruption budget that keeps one pod running and does not block draining a node', () => {
    const budgets = ofKind<IPodDisruptionBudget>('PodDisruptionBudget').map(({ spec }) => spec);
    expect(budgets.flatMap((spec) => selected(spec?.selector?.matchLabels))).toEqual(workloads);
    for (const spec of budgets)
      expect(spec).toMatchObject({ maxUnavailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow' });
    for (const { spec } of workloads) expect(spec.replicas).toBeGreaterThan(1);
  });

  it('listen on the ports of the settings, which the probes use', () => {
    const ports = (name: string) =>
      (containerOf(name).ports ?? []).map((port) => [port.name, port.containerPort]);
    expect(ports('ad-server')).toEqual([
      ['http', config.AD_SERVER_PORT],
      ['ops', config.AD_SERVER_OPS_PORT],
    ]);
    expect(ports('processor')).toEqual([['ops', config.PROCESSOR_OPS_PORT]]);
    expect(ports('console')).toEqual([
      ['http', config.CONSOLE_PORT],
      ['ops', config.CONSOLE_OPS_PORT],
    ]);
    expect(config.CONSOLE_HOST).toBe('0.0.0.0');
    expect(config.OPS_HOST).toBe('0.0.0.0');
    for (const { metadata } of workloads) {
      const { readinessProbe, livenessProbe } = containerOf(metadata.name);
      expect(readinessProbe?.httpGet).toEqual({ path: '/readyz', port: 'ops' });
      expect(livenessProbe?.httpGet).toEqual({ path: '/healthz', port: 'ops' });
    }
  });

  it('have enough time to drain after the delay in which load balancers remove them', () => {
    for (const { metadata, spec } of workloads) {
      const pause = containerOf(metadata.name).lifecycle?.preStop?.sleep?.seconds ?? 0;
      const grace = spec.template.spec?.terminationGracePeriodSeconds ?? 0;
      expect(grace * 1_000, metadata.name).toBeGreaterThan(pause * 1_000 + DRAIN_MS_MAX);
    }
    for (const name of ['ad-server', 'console'])
      expect(containerOf(name).lifecycle?.preStop?.sleep?.seconds).toBeGreaterThanOrEqual(5);
  });

  it('have services with existing ports; no service with an address exposes the operations port', () => {
    for (const { metadata, spec } of services) {
      const [workload, ...others] = selected(spec?.selector);
      const name = metadata.name === 'console' ? 'console' : 'ad-server';
      expect([workload?.metadata.name, others.length], metadata.name).toEqual([name, 0]);
      for (const { targetPort } of spec?.ports ?? []) {
        expect(portNames(name), metadata.name).toContain(targetPort);
        if (targetPort === 'ops') expect(spec?.clusterIP, metadata.name).toBe('None');
      }
    }
    const headless = named<IStatefulSet>('StatefulSet', 'ad-server').spec?.serviceName;
    expect(services.find(({ metadata }) => metadata.name === headless)?.spec?.clusterIP).toBe('None');
  });

  it('allow only the monitoring to connect to the operations ports', () => {
    const policies = ofKind<INetworkPolicy>('NetworkPolicy').map(({ spec }) => spec);
    const restricted = policies.flatMap((spec) => selected(spec?.podSelector?.matchLabels));
    expect(new Set(restricted)).toEqual(new Set(workloads));
    for (const { ports = [], from } of policies.flatMap((spec) => spec?.ingress ?? [])) {
      expect(ports.length).toBeGreaterThan(0);
      if (ports.every(({ port }) => port === 'http')) continue;
      expect(from).toEqual([
        { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } },
      ]);
    }
  });

  it('keep the console inside the namespace, except with console-ingress', () => {
    const { components = [] } = kustomization('kustomization.yaml');
    expect(components).not.toContain('console-ingress');
    const policies = ofKind<INetworkPolicy>('NetworkPolicy').filter(({ spec }) =>
      selected(spec?.podSelector?.matchLabels).some(({ metadata }) => metadata.name === 'console'),
    );
    const allowed = Object.fromEntries(
      policies.map(({ metadata, spec }) => [
        metadata.name,
        spec?.ingress?.find(({ ports }) => ports?.[0]?.port === 'http')?.from,
      ]),
    );
    expect(allowed).toEqual({
      console: [{ podSelector: {} }],
      'console-ingress': [
        { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'ingress-nginx' } } },
      ],
    });
    expect(named<IIngress>('Ingress', 'console').spec?.tls?.[0]?.hosts).toEqual(['console.example.com']);
  });

  it('have an ingress with the host of printed links', () => {
    const { spec } = named<IIngress>('Ingress', 'ad-server');
    const host = new URL(config.PUBLIC_URL).host;
    expect(spec?.rules?.map((rule) => rule.host)).toEqual([host]);
    expect(spec?.tls?.flatMap(({ hosts }) => hosts)).toEqual([host]);
    const backend = spec?.rules?.[0]?.http?.paths[0]?.backend.service;
    const { spec: service } = named<IService>('Service', backend?.name ?? '');
    expect(service?.ports?.map(({ name }) => name)).toContain(backend?.port?.name);
    expect(config.TRUSTED_PROXIES).not.toEqual([]);
  });

  it('keep their spools on volumes that are large enough and persist after the pods', () => {
    const { spec } = named<IStatefulSet>('StatefulSet', 'ad-server');
    const [, dataDir] = /DATA_DIR=(\S+)/.exec(readRoot('Dockerfile')) ?? [];
    expect(containerOf('ad-server').volumeMounts).toEqual([{ name: 'spool', mountPath: dataDir }]);
    expect(given).not.toHaveProperty('DATA_DIR');
    const [claim] = spec?.volumeClaimTemplates ?? [];
    expect(claim?.metadata?.name).toBe('spool');
    const [, gibibytes] = /^(\d+)Gi$/.exec(String(claim?.spec?.resources?.requests?.storage)) ?? [];
    expect(Number(gibibytes) * 2 ** 30).toBeGreaterThan(config.SPOOL_MAX_BYTES + config.SPOOL_SEGMENT_BYTES);
    expect(spec?.persistentVolumeClaimRetentionPolicy).toEqual({
      whenDeleted: 'Retain',
      whenScaled: 'Retain',
    });
    expect(spec?.template.spec?.securityContext?.fsGroup).toBe(1000);
  });
});

/** The names in KEDA and Knative for the values of KAFKA_SASL. */
const SASL_OF_KEDA: Record<string, string> = {
  plain: 'plaintext',
  'scram-sha-256': 'scram_sha256',
  'scram-sha-512': 'scram_sha512',
};

describe('KEDA', () => {
  const { spec } = named<IScaledObject>('ScaledObject', 'processor');
  const trigger = spec.triggers[0]?.metadata ?? {};

  it('scales the processors up to the number of partitions, and never to zero', () => {
    expect(named<Workload>(spec.scaleTargetRef.kind ?? '', spec.scaleTargetRef.name)).toBeDefined();
    expect(spec.maxReplicaCount).toBeLessThanOrEqual(config.KAFKA_PARTITIONS);
    expect(spec.minReplicaCount).toBe(named<Workload>('Deployment', 'processor').spec.replicas);
    expect(spec.fallback?.replicas).toBeLessThanOrEqual(spec.maxReplicaCount ?? 0);
    expect(trigger.allowIdleConsumers).toBe('false');
    expect(Number(trigger.lagThreshold)).toBeGreaterThan(config.BATCH_SIZE * config.PARALLELIZATION);
    // Kafka 4 supports only protocol versions since 2.1: KIP-896.
    expect(trigger.version).toMatch(/^(2\.[1-9]|[3-9]\.)/);
  });

  it('takes broker, group and topic from the environment of the processor', () => {
    expect(spec.scaleTargetRef.envSourceContainerName).toBe(containerOf('processor').name);
    const { bootstrapServersFromEnv, consumerGroupFromEnv, topicFromEnv } = trigger;
    expect([bootstrapServersFromEnv, consumerGroupFromEnv, topicFromEnv]).toEqual([
      'KAFKA_BROKERS',
      'KAFKA_GROUP',
      'KAFKA_TOPIC',
    ]);
    for (const name of ['KAFKA_BROKERS', 'KAFKA_GROUP', 'KAFKA_TOPIC'])
      expect(given[name], name).toMatch(/./);
  });

  it('authenticates like the processor', () => {
    expect(trigger.tls).toBe(config.KAFKA_TLS === 'on' ? 'enable' : 'disable');
    expect(trigger.sasl).toBe(SASL_OF_KEDA[config.KAFKA_SASL]);
    const { name = '' } = spec.triggers[0]?.authenticationRef ?? {};
    const { spec: login } = named<{ spec: { secretTargetRef: { parameter: string; key: string }[] } }>(
      'TriggerAuthentication',
      name,
    );
    expect(login.secretTargetRef).toEqual([
      { parameter: 'username', name: 'tollway', key: 'KAFKA_USERNAME' },
      { parameter: 'password', name: 'tollway', key: 'KAFKA_PASSWORD' },
    ]);
  });
});

describe('Knative', () => {
  const { spec } = kafkaSource.parse(ofKind('KafkaSource')[0]);
  const seconds = (duration: string) => Number(/^PT(\d+)S$/.exec(duration)?.[1]);

  it('posts the clicks of the configured topic to the function, in a separate consumer group', () => {
    expect(spec.sink.ref).toEqual({ apiVersion: knative.apiVersion, kind: 'Service', name: 'cloud-event' });
    expect(spec.bootstrapServers.join()).toBe(given.KAFKA_BROKERS);
    expect(spec.topics).toEqual([config.KAFKA_TOPIC]);
    expect(spec.consumerGroup).not.toBe(config.KAFKA_GROUP);
    expect(spec.consumers).toBeLessThanOrEqual(config.KAFKA_PARTITIONS);
    expect(knative.metadata.labels).toMatchObject({ 'networking.knative.dev/visibility': 'cluster-local' });
  });

  it('retries a click for as long as Kafka keeps it', () => {
    const { retry, backoffPolicy, backoffDelay, timeout } = spec.delivery;
    expect(backoffPolicy).toBe('linear');
    const triedForSeconds = (seconds(backoffDelay) * retry * (retry + 1)) / 2;
    expect(triedForSeconds).toBeGreaterThan(config.BROKER_RETENTION_DAYS * 86_400);
    expect(seconds(timeout)).toBeGreaterThanOrEqual(Number(knative.spec?.template?.spec?.timeoutSeconds));
  });

  it('authenticates like the processor', () => {
    const { tls, sasl } = spec.net;
    expect([tls.enable, sasl.enable]).toEqual([config.KAFKA_TLS === 'on', config.KAFKA_SASL !== 'off']);
    const { name, key } = sasl.type.secretKeyRef;
    expect(named<ISecret>('Secret', name).stringData?.[key]).toBe(config.KAFKA_SASL.toUpperCase());
    expect([sasl.user, sasl.password].map(({ secretKeyRef }) => secretKeyRef)).toEqual([
      { name: 'tollway', key: 'KAFKA_USERNAME' },
      { name: 'tollway', key: 'KAFKA_PASSWORD' },
    ]);
  });
});

describe('the monitoring', () => {
  it('scrapes the operations ports under the job names of the alerts', () => {
    const { spec } = named<IPodMonitor>('PodMonitor', 'tollway');
    expect(spec.jobLabel).toBe('app.kubernetes.io/name');
    const wanted = spec.selector.matchExpressions?.[0]?.values ?? [];
    expect(
      workloads.map(({ spec: { template } }) => template.metadata?.labels?.[spec.jobLabel ?? '']),
    ).toEqual(wanted);
    const alerts = readRoot('deploy/prometheus/alerts.yml');
    const jobs = [...alerts.matchAll(/job=~?"([^"]+)"/g)].flatMap(([, names = '']) => names.split('|'));
    expect(new Set(jobs)).toEqual(new Set(wanted));
    for (const { port } of spec.podMetricsEndpoints ?? [])
      for (const { metadata } of workloads) expect(portNames(metadata.name)).toContain(port);
  });

  it('checks the success of an existing scheduled job', () => {
    const rule = read('prometheus-operator/reconcile-alert.yaml');
    const [, job = ''] = /cronjob="([^"]+)"/.exec(rule) ?? [];
    expect(named<ICronJob>('CronJob', job).spec?.concurrencyPolicy).toBe('Forbid');
  });
});

const hasKubectl = spawnSync('kubectl', ['version', '--client']).status === 0;
const leftOut = isSkippedInCiToo(hasKubectl ? null : 'kubectl is missing');

// kubectl needs no cluster for this.
describe.skipIf(leftOut)('kubectl', () => {
  it.each(['.', 'migrate', 'knative'])('builds %s', (folder) => {
    const { status, stdout, stderr } = spawnSync('kubectl', ['kustomize', join(FOLDER, folder)], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    const built = parseManifests(stdout);
    const map = built.find(({ kind }) => kind === 'ConfigMap')?.metadata.name ?? '';
    expect(map).toMatch(/^settings-\w+$/);
    expect(stdout.split('configMapRef:').length).toBe(stdout.split(`name: ${map}\n`).length - 1);
    expect(stdout).toContain(`/tollway:${version}\n`);
    expect(stdout).not.toMatch(/image: tollway\b/);
    // KEDA sets the number of replicas: with a number in the manifest each `apply` would reset it.
    const processor = built.find(
      ({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'processor',
    ) as Workload | undefined;
    expect(processor?.spec.replicas).toBeUndefined();
  });
});
