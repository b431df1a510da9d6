import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import type { IService as IKnativeService } from '@kubernetes-models/knative/serving.knative.dev/v1/Service';
import type { ICronJob } from 'kubernetes-models/batch/v1/CronJob';
import type { IContainer } from 'kubernetes-models/v1/Container';
import type { IPodTemplateSpec } from 'kubernetes-models/v1/PodTemplateSpec';
import { parse, parseAllDocuments } from 'yaml';
import type { Manifest } from './kubernetes-schemas.ts';

export const ROOT = join(import.meta.dirname, '..', '..');
export const FOLDER = join(ROOT, 'deploy', 'kubernetes');

export type Kustomization = {
  resources?: string[];
  components?: string[];
  configurations?: string[];
  images?: { name: string; newTag: string }[];
};

/** The kinds that create pods from a template. */
export type Workload = Manifest & {
  spec: { replicas?: number; selector?: { matchLabels: Record<string, string> }; template: IPodTemplateSpec };
};

export const readRoot = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
export const read = (path: string): string => readFileSync(join(FOLDER, path), 'utf8');

/** Every YAML file, by its path in the folder. */
export const files = globSync('**/*.yaml', { cwd: FOLDER }).sort();
export const kustomizations = files.filter((path) => path.endsWith('kustomization.yaml'));
/** The files with manifests. */
export const paths = files.filter((path) => !/(kustomization|configuration)\.yaml$/.test(path));

// Parsing boundaries: a test checks each manifest against the schema of its kind.
export const kustomization = (path: string): Kustomization => parse(read(path)) as Kustomization;
export const parseManifests = (text: string): Manifest[] =>
  parseAllDocuments(text).map((document) => document.toJS() as Manifest);

const manifests = paths.flatMap((path) => parseManifests(read(path)));

export function ofKind<T>(kind: string): (Manifest & T)[] {
  return manifests.filter((manifest) => manifest.kind === kind) as (Manifest & T)[];
}

/** Throws if it does not exist. */
export function named<T>(kind: string, name: string): Manifest & T {
  const found = ofKind<T>(kind).find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error(`Expected a ${kind} called ${name}`);
  return found;
}

/** The settings of all components. */
export const given: Readonly<Record<string, string | undefined>> = parseEnv(read('common/settings.env'));

export const knative = named<IKnativeService>('Service', 'cloud-event');
/** Ad servers and processors. */
export const workloads = [...ofKind<Workload>('StatefulSet'), ...ofKind<Workload>('Deployment')];

/** Every pod template, with the name of its workload. */
export const templates: readonly (readonly [string, IPodTemplateSpec])[] = [
  ...[...workloads, ...ofKind<Workload>('Job')].map(
    ({ metadata, spec }) => [metadata.name, spec.template] as const,
  ),
  ...ofKind<ICronJob>('CronJob').flatMap(({ metadata, spec }) =>
    spec ? [[metadata.name, spec.jobTemplate.spec?.template ?? {}] as const] : [],
  ),
  // Knative uses the field names of a pod.
  [knative.metadata.name, knative.spec?.template as IPodTemplateSpec],
];

export const containers = templates.flatMap(([name, { spec }]) =>
  [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map(
    (container) => [name, container] as const,
  ),
);

/** The container of a workload. */
export function containerOf(name: string): IContainer {
  const found = containers.find(([owner]) => owner === name);
  if (found === undefined) throw new Error(`Expected a container of ${name}`);
  return found[1];
}

export const portNames = (name: string): (string | undefined)[] =>
  (containerOf(name).ports ?? []).map((port) => port.name);

/** The workloads whose pods a selector matches. */
export function selected(wanted: Readonly<Record<string, string>> | undefined): Workload[] {
  const labels = Object.entries(wanted ?? {});
  if (labels.length === 0) throw new Error('Expected a selector that does not find everything');
  return workloads.filter(({ spec }) =>
    labels.every(([key, value]) => spec.template.metadata?.labels?.[key] === value),
  );
}
