import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject';
import { TriggerAuthentication } from '@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication';
import { Service as KnativeService } from '@kubernetes-models/knative/serving.knative.dev/v1/Service';
import { PodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor';
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { StatefulSet } from 'kubernetes-models/apps/v1/StatefulSet';
import { CronJob } from 'kubernetes-models/batch/v1/CronJob';
import { Job } from 'kubernetes-models/batch/v1/Job';
import { Ingress } from 'kubernetes-models/networking.k8s.io/v1/Ingress';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { Namespace } from 'kubernetes-models/v1/Namespace';
import { Secret } from 'kubernetes-models/v1/Secret';
import { Service } from 'kubernetes-models/v1/Service';
import { z } from 'zod';

/** One document of a manifest. */
export type Manifest = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Record<string, string> };
};

type Validated = { readonly prototype: { validate(): void } };

const MODELS: Readonly<Record<string, Validated>> = {
  'apps/v1 Deployment': Deployment,
  'apps/v1 StatefulSet': StatefulSet,
  'batch/v1 CronJob': CronJob,
  'batch/v1 Job': Job,
  'keda.sh/v1alpha1 ScaledObject': ScaledObject,
  'keda.sh/v1alpha1 TriggerAuthentication': TriggerAuthentication,
  'monitoring.coreos.com/v1 PodMonitor': PodMonitor,
  'monitoring.coreos.com/v1 PrometheusRule': PrometheusRule,
  'networking.k8s.io/v1 Ingress': Ingress,
  'networking.k8s.io/v1 NetworkPolicy': NetworkPolicy,
  'policy/v1 PodDisruptionBudget': PodDisruptionBudget,
  'serving.knative.dev/v1 Service': KnativeService,
  'v1 Namespace': Namespace,
  'v1 Secret': Secret,
  'v1 Service': Service,
};

const fromSecret = z.strictObject({ secretKeyRef: z.strictObject({ name: z.string(), key: z.string() }) });

/**
 * The used part of a KafkaSource. Its definition accepts anything:
 * https://github.com/knative-extensions/eventing-kafka-broker/tree/main/control-plane/pkg/apis/sources/v1
 */
export const kafkaSource = z.strictObject({
  apiVersion: z.literal('sources.knative.dev/v1'),
  kind: z.literal('KafkaSource'),
  metadata: z.strictObject({ name: z.string() }),
  spec: z.strictObject({
    bootstrapServers: z.array(z.string()).min(1),
    topics: z.array(z.string()).min(1),
    consumerGroup: z.string(),
    initialOffset: z.enum(['earliest', 'latest']),
    consumers: z.int().min(1),
    ordering: z.enum(['ordered', 'unordered']),
    sink: z.strictObject({
      ref: z.strictObject({ apiVersion: z.string(), kind: z.string(), name: z.string() }),
    }),
    delivery: z.strictObject({
      retry: z.int().min(0).max(2_147_483_647),
      backoffPolicy: z.enum(['linear', 'exponential']),
      backoffDelay: z.iso.duration(),
      timeout: z.iso.duration(),
    }),
    net: z.strictObject({
      tls: z.strictObject({ enable: z.boolean() }),
      sasl: z.strictObject({
        enable: z.boolean(),
        user: fromSecret,
        password: fromSecret,
        type: fromSecret,
      }),
    }),
  }),
});

/**
 * Fields that the models do not know, by path. The models are the last versions that install on Node 20; these fields were added to the
 * definitions later: https://keda.sh/docs/latest/reference/scaledobject-spec/#fallback,
 * https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.Rule
 */
const NEWER_FIELDS: readonly { readonly path: RegExp; readonly schema: z.ZodType }[] = [
  {
    path: /^ScaledObject\/spec\/fallback\/behavior$/,
    schema: z.enum(['static', 'currentReplicas', 'currentReplicasIfHigher', 'currentReplicasIfLower']),
  },
  {
    path: /^PrometheusRule\/spec\/groups\/\d+\/rules\/\d+\/keep_firing_for$/,
    schema: z.string().regex(/^\d+(ms|[smhdwy])$/),
  },
];

/** Validates a manifest against the schema of its kind. Throws for every error, and for every field that the schema does not have. */
export function validateManifest(manifest: Manifest): void {
  if (manifest.kind === 'KafkaSource') {
    kafkaSource.parse(manifest);
    return;
  }
  const model = MODELS[`${manifest.apiVersion} ${manifest.kind}`];
  if (model === undefined) throw new Error(`Expected a kind with a schema, got ${manifest.kind}`);
  const unread = fieldsUnread(manifest, (watched) => model.prototype.validate.call(watched)).filter(
    (path) => !isNewer(manifest, path),
  );
  if (unread.length > 0) throw new Error(`Expected fields of the schema, got ${unread.join(', ')}`);
}

/** Whether a field is one of `NEWER_FIELDS`. Throws if its value is not one of those allowed. */
function isNewer(manifest: Manifest, path: string): boolean {
  const newer = NEWER_FIELDS.find((field) => field.path.test(manifest.kind + path));
  if (newer === undefined) return false;
  const value = path
    .split('/')
    .slice(1)
    .reduce<unknown>((parent, key) => Reflect.get(Object(parent), key), manifest);
  newer.schema.parse(value, { error: () => `${path}: ${JSON.stringify(value)} is not allowed` });
  return true;
}

/**
 * The fields that a validator never read. Validators of the models ignore unknown fields, including mistyped ones, but
 * read all known fields of each object. An object without read fields can have any content.
 */
function fieldsUnread(document: object, validate: (watched: object) => void): string[] {
  const watched = new Map<object, { proxy: object; path: string; read: Set<PropertyKey> }>();
  const watch = (target: object, path: string): object => {
    const known = watched.get(target);
    if (known !== undefined) return known.proxy;
    const read = new Set<PropertyKey>();
    const proxy = new Proxy(target, {
      get: (_, key) => {
        read.add(key);
        const child: unknown = Reflect.get(target, key);
        return typeof child === 'object' && child !== null ? watch(child, `${path}/${String(key)}`) : child;
      },
    });
    watched.set(target, { proxy, path, read });
    return proxy;
  };
  validate(watch(document, ''));
  return [...watched].flatMap(([target, { path, read }]) =>
    read.size === 0
      ? []
      : Object.keys(target)
          .filter((key) => !read.has(key))
          .map((key) => `${path}/${key}`),
  );
}
