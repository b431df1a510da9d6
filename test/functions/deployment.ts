import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder, removeFolder } from '../support/temporary-folder.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** The settings of a function in functions.json. Absent settings do not apply to it. */
export type FunctionSettings = {
  readonly memoryMb: number;
  readonly timeoutSeconds: number;
  readonly batchSize?: number;
  readonly batchWindowSeconds?: number;
  readonly parallelizationFactor?: number;
  readonly pollersMin?: number;
  readonly pollersMax?: number;
  readonly startingPosition?: string;
  readonly bisectOnError?: boolean;
  readonly retryAttemptsMax?: number;
  readonly recordAgeMaxSeconds?: number;
  readonly responseType?: string;
  readonly schedule?: string;
  readonly deepSchedule?: string;
  readonly eventAgeMaxSeconds?: number;
};

/** The settings in deploy/functions.json. */
export type DeploymentSettings = {
  readonly runtime: string;
  readonly architecture: string;
  readonly handler: string;
  readonly logRetentionDays: number;
  readonly streamRetentionHours: number;
  readonly functions: Readonly<Record<string, FunctionSettings>>;
};

// A parsing boundary: the deployment tools and the tests check every value.
const { openwhiskActions: _, ...lambda } = JSON.parse(
  readFileSync(join(ROOT, 'deploy/functions.json'), 'utf8'),
) as DeploymentSettings & { openwhiskActions: unknown };
/** The settings for Lambda. Another test compares those for OpenWhisk with its manifest. */
export const shipped: DeploymentSettings = lambda;

/** For every setting a valid value that differs from the shipped one. */
const OTHER: Readonly<Record<string, string | number | boolean>> = {
  runtime: 'nodejs22.x',
  architecture: 'x86_64',
  handler: 'other.handler',
  logRetentionDays: 60,
  streamRetentionHours: 48,
  memoryMb: 640,
  timeoutSeconds: 77,
  batchSize: 321,
  batchWindowSeconds: 3,
  parallelizationFactor: 5,
  pollersMin: 3,
  pollersMax: 7,
  startingPosition: 'LATEST',
  bisectOnError: false,
  retryAttemptsMax: 1,
  recordAgeMaxSeconds: 3_600,
  // AWS has no other value.
  responseType: 'ReportBatchItemFailures',
  schedule: 'rate(7 minutes)',
  deepSchedule: 'cron(7 7 * * ? *)',
  eventAgeMaxSeconds: 1_234,
};

/** The same functions with other settings, to find deployments with hard-coded values. */
export const changed: DeploymentSettings = JSON.parse(JSON.stringify(shipped), (name, value: unknown) => {
  if (typeof value === 'object') return value;
  const other = OTHER[name];
  if (other === undefined) throw new Error(`functions.json: expected a setting of OTHER, got ${name}`);
  return other;
}) as DeploymentSettings;

/** Every setting as a path, such as `functions.lambda-kinesis.batchSize`. */
export function settingPaths(value: unknown = shipped, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([name, inner]) =>
    settingPaths(inner, path === '' ? name : `${path}.${name}`),
  );
}

/**
 * Copies the deployment and its bundles to a temporary folder, so that tools leave no files in the repository. Bundles that are not built are
 * replaced by placeholder files.
 */
export function copyDeployment(settings: DeploymentSettings): { folder: string; remove: () => void } {
  const folder = makeFolder();
  for (const part of ['terraform', 'serverless']) {
    cpSync(join(ROOT, 'deploy', part), join(folder, 'deploy', part), {
      recursive: true,
      // Local files of earlier deployments are not copied.
      filter: (path) => !/[\\/]\.(terraform|serverless)|\.(tfstate|tfvars)/.test(path),
    });
  }
  writeFileSync(join(folder, 'deploy', 'functions.json'), JSON.stringify(settings));
  const bundles = join(folder, 'dist', 'functions');
  mkdirSync(bundles, { recursive: true });
  for (const name of Object.keys(settings.functions)) {
    const built = join(ROOT, 'dist', 'functions', `${name}.zip`);
    if (existsSync(built)) cpSync(built, join(bundles, `${name}.zip`));
    else writeFileSync(join(bundles, `${name}.zip`), 'Not built.');
  }
  return { folder, remove: () => removeFolder(folder) };
}

/** One permission of a role, in either tool's output. */
export type Statement = {
  readonly Effect: string;
  readonly Action: string | string[];
  readonly Resource: unknown;
  readonly Condition?: unknown;
};

/** Actions that AWS supports only for the resource `*`. All others must name their resources. */
const ONLY_FOR_ALL = /^ec2:Describe(NetworkInterfaces|Subnets|SecurityGroups|Vpcs)$/;

/** The actions that statements allow, and those of them with a wildcard in the action or as the resource. */
export function allowed(statements: readonly Statement[]): { actions: string[]; tooWide: string[] } {
  const allows = statements.filter(({ Effect }) => Effect === 'Allow');
  const actions = allows.flatMap(({ Action }) => Action);
  const tooWide = allows.flatMap(({ Action, Resource }) =>
    [Action].flat().filter((action) => {
      const isForAll = [Resource].flat().some((resource) => resource === '*');
      return action.includes('*') || (isForAll && !ONLY_FOR_ALL.test(action));
    }),
  );
  return { actions: actions.sort(), tooWide };
}

const NETWORK = [
  'ec2:AssignPrivateIpAddresses',
  'ec2:CreateNetworkInterface',
  'ec2:DeleteNetworkInterface',
  'ec2:DescribeNetworkInterfaces',
  'ec2:DescribeSubnets',
  'ec2:UnassignPrivateIpAddresses',
];
const EVERY = [...NETWORK, 'logs:CreateLogStream', 'logs:PutLogEvents', 'secretsmanager:GetSecretValue'];

/** The permissions of each function, listed independently of the deployments, so that additional ones are noticed. */
export const EXPECTED_ACTIONS: Readonly<Record<string, readonly string[]>> = {
  'lambda-kinesis': [
    ...EVERY,
    'kinesis:DescribeStream',
    'kinesis:DescribeStreamSummary',
    'kinesis:GetRecords',
    'kinesis:GetShardIterator',
    'kinesis:ListShards',
    's3:ListBucket',
    's3:PutObject',
  ].sort(),
  'lambda-kafka': [
    ...EVERY,
    'ec2:DescribeSecurityGroups',
    'ec2:DescribeVpcs',
    'kafka-cluster:AlterGroup',
    'kafka-cluster:Connect',
    'kafka-cluster:DescribeGroup',
    'kafka-cluster:DescribeTopic',
    'kafka-cluster:DescribeTopicDynamicConfiguration',
    'kafka-cluster:ReadData',
    'kafka:DescribeCluster',
    'kafka:DescribeClusterV2',
    'kafka:GetBootstrapBrokers',
  ].sort(),
  'lambda-file': [
    ...EVERY,
    's3:GetObject',
    's3:GetObjectVersion',
    's3:ListBucket',
    's3:ListBucket',
    's3:PutObject',
  ].sort(),
  'lambda-reconcile': [...EVERY].sort(),
  'lambda-maintenance': [...EVERY].sort(),
  'lambda-redirect': [...EVERY, 'kinesis:PutRecords'].sort(),
};
