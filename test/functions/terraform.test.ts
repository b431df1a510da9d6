import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { settings as everySetting, parseConfig } from '../../common/config/config.ts';
import { metricList } from '../../common/telemetry/metric-list.ts';
import { isSkippedInCiToo } from '../support/skipped.ts';
import {
  allowed,
  changed,
  copyDeployment,
  type DeploymentSettings,
  EXPECTED_ACTIONS,
  type Statement,
  settingPaths,
  shipped,
} from './deployment.ts';
import { applyToMock, arn, initialize, type Made, terraform, terraformVersion } from './terraform.ts';

const TERRAFORM = join(import.meta.dirname, '..', '..', 'deploy', 'terraform');
const FILES = globSync('*.tf', { cwd: TERRAFORM }).sort();
const hcl = FILES.map((file) => readFileSync(join(TERRAFORM, file), 'utf8')).join('\n');

const VARIABLES = {
  subnet_ids: ['subnet-1', 'subnet-2'],
  security_group_ids: ['sg-1'],
  database_endpoint: 'proxy.example.com',
  database_secret_arn: arn('secretsmanager', 'secret:ledger-AbCdEf'),
  link_keys: 'live:signs:MDEyMzQ1Njc4OWFiY2RlZg',
};
const MORE_VARIABLES = {
  ...VARIABLES,
  name: 'toll',
  database_secret_kms_key_arn: arn('kms', 'key/secret'),
  stream_shards: 4,
  stream_kms_key_arn: arn('kms', 'key/stream'),
  kafka_cluster_arn: arn('kafka', 'cluster/clicks/abc'),
  has_function_url: true,
  settings: { CLICK_AGE_MAX_DAYS: '10' },
  concurrency_max: { 'lambda-redirect': 50 },
  alarm_topic_arns: [arn('sns', 'alarms')],
};

const version = await terraformVersion();
const copies = {
  // Providers older than the runtime reject it. All accept the older runtime.
  shipped: copyDeployment({ ...shipped, runtime: changed.runtime }),
  changed: copyDeployment(changed),
  valid: copyDeployment(shipped),
};
const folderOf = (copy: keyof typeof copies) => join(copies[copy].folder, 'deploy', 'terraform');
afterAll(() => {
  for (const { remove } of Object.values(copies)) remove();
});
const missing = version === 0 ? 'Terraform is missing' : await initialize(folderOf('valid'));
// A wrong TF_PLUGIN_DIR is an error, not a reason to skip.
const skipped = isSkippedInCiToo(process.env.TF_PLUGIN_DIR ? null : missing);
const tooOld = missing === null && version < 1.007;
const isApplySkipped = isSkippedInCiToo(
  tooOld ? `Terraform ${version} is older than 1.7 and has no mock_provider` : null,
);

describe('deploy/terraform', () => {
  it('reads every setting of functions.json, and no others', () => {
    const names = new Set(settingPaths().map((path) => path.split('.').at(-1) ?? ''));
    const requested = [
      ...hcl.matchAll(
        /(?:settings|function|value|functions\["[a-z-]+"\])\.([a-z]+[A-Z]\w+|runtime|architecture|handler|schedule|deepSchedule)\b/g,
      ),
    ];
    expect(new Set(requested.map(([, name]) => name))).toEqual(names);
    for (const path of settingPaths().filter((path) => /^functions\.lambda-(kinesis|kafka)\./.test(path))) {
      const [, name, setting] = path.split('.');
      if (setting !== 'memoryMb' && setting !== 'timeoutSeconds')
        expect(hcl, path).toContain(`local.settings.functions["${name}"].${setting}`);
    }
  });

  it('protects the stream from being destroyed', () => {
    expect(readFileSync(join(TERRAFORM, 'kinesis.tf'), 'utf8')).toContain('prevent_destroy = true');
  });

  it('gives the redirect enough time to wait for the broker and for an ad', () => {
    const { timeoutSeconds = 0 } = shipped.functions['lambda-redirect'] ?? {};
    expect(timeoutSeconds * 1_000).toBeGreaterThan(2 * parseConfig({}).REDIRECT_WAIT_MS);
  });

  it('has no lock file, which would have the checksums of one platform', () => {
    expect(globSync('**/.terraform.lock.hcl', { cwd: TERRAFORM })).toEqual([]);
  });

  it.skipIf(version === 0)('is formatted by terraform fmt', async () => {
    expect(await terraform(TERRAFORM, 'fmt', '-check', '-recursive', '-diff')).toMatchObject({
      succeeds: true,
      stdout: '',
    });
  });

  it.skipIf(skipped)(
    'is valid',
    async () => {
      expect(missing).toBeNull();
      const { stdout } = await terraform(folderOf('valid'), 'validate', '-json');
      expect(JSON.parse(stdout)).toMatchObject({ valid: true, error_count: 0 });
    },
    120_000,
  );
});

describe.skipIf(missing !== null || isApplySkipped)('the result of terraform apply', () => {
  const applied = new Map<DeploymentSettings, Map<string, Made>>();
  beforeAll(async () => {
    for (const copy of ['shipped', 'changed'] as const) expect(await initialize(folderOf(copy))).toBeNull();
    applied.set(shipped, await applyToMock(folderOf('shipped'), VARIABLES));
    applied.set(changed, await applyToMock(folderOf('changed'), MORE_VARIABLES));
  }, 300_000);

  const made = (address: string, settings = shipped) => applied.get(settings)?.get(address)?.values ?? {};
  const ofType = (type: string, settings = shipped) =>
    [...(applied.get(settings)?.values() ?? [])].filter((one) => one.type === type);
  const mapping = (name: 'kinesis' | 'kafka[0]', settings = shipped) =>
    made(`aws_lambda_event_source_mapping.${name}`, settings);
  const namesOf = (settings: DeploymentSettings) =>
    Object.keys(settings.functions).filter((name) => settings === changed || name !== 'lambda-kafka');
  const variablesOf = (name: string, settings = shipped) =>
    (
      made(`aws_lambda_function.function["${name}"]`, settings).environment as [
        { variables: Record<string, string> },
      ]
    )[0].variables;

  describe.each([
    ['as shipped', shipped, 'tollway'],
    ['with other settings, Kafka and more variables', changed, 'toll'],
  ])('%s', (_, settings, prefix) => {
    it.each(namesOf(settings))('has %s with the settings of functions.json', (name) => {
      expect(made(`aws_lambda_function.function["${name}"]`, settings)).toMatchObject({
        function_name: `${prefix}-${name}`,
        // See `copies`.
        runtime: changed.runtime,
        architectures: [settings.architecture],
        handler: settings.handler,
        memory_size: settings.functions[name]?.memoryMb,
        timeout: settings.functions[name]?.timeoutSeconds,
      });
      expect(made(`aws_cloudwatch_log_group.function["${name}"]`, settings)).toMatchObject({
        name: `/aws/lambda/${prefix}-${name}`,
        retention_in_days: settings.logRetentionDays,
      });
      const { eventAgeMaxSeconds, retryAttemptsMax, schedule, deepSchedule } = settings.functions[name] ?? {};
      const onItsOwnTime = made(`aws_lambda_function_event_invoke_config.function["${name}"]`, settings);
      if (eventAgeMaxSeconds === undefined) expect(onItsOwnTime).toEqual({});
      else
        expect(onItsOwnTime).toMatchObject({
          maximum_event_age_in_seconds: eventAgeMaxSeconds,
          maximum_retry_attempts: retryAttemptsMax,
        });
      expect(made(`aws_scheduler_schedule.function["${name}"]`, settings).schedule_expression).toBe(schedule);
      expect(made(`aws_scheduler_schedule.deep["${name}"]`, settings).schedule_expression).toBe(deepSchedule);
    });

    it('has a stream with the settings of functions.json', () => {
      const kinesis = settings.functions['lambda-kinesis'];
      expect(made('aws_kinesis_stream.clicks', settings)).toMatchObject({
        retention_period: settings.streamRetentionHours,
        encryption_type: 'KMS',
        stream_mode_details: [{ stream_mode: settings === changed ? 'PROVISIONED' : 'ON_DEMAND' }],
      });
      expect(mapping('kinesis', settings)).toMatchObject({
        batch_size: kinesis?.batchSize,
        maximum_batching_window_in_seconds: kinesis?.batchWindowSeconds,
        parallelization_factor: kinesis?.parallelizationFactor,
        starting_position: kinesis?.startingPosition,
        bisect_batch_on_function_error: kinesis?.bisectOnError,
        maximum_retry_attempts: kinesis?.retryAttemptsMax,
        maximum_record_age_in_seconds: kinesis?.recordAgeMaxSeconds,
        function_response_types: [kinesis?.responseType],
        destination_config: [{ on_failure: [{ destination_arn: 'arn:aws:s3:::failures' }] }],
      });
    });

    it.each(namesOf(settings))('gives %s only the permissions that it needs', (name) => {
      const statements = statementsOf(made(`aws_iam_role_policy.function["${name}"]`, settings).policy);
      const { actions, tooWide } = allowed(statements);
      expect(tooWide).toEqual([]);
      // Customer-managed keys must be listed.
      const keys: Record<string, string[]> = {
        'lambda-kinesis': ['kms:Decrypt', 'kms:Decrypt'],
        'lambda-redirect': ['kms:Decrypt', 'kms:GenerateDataKey'],
      };
      const own = settings === changed ? (keys[name] ?? ['kms:Decrypt']) : [];
      expect(actions).toEqual([...(EXPECTED_ACTIONS[name] ?? []), ...own].sort());
      const logs = statements.find(({ Action }) => Action.includes('logs:PutLogEvents'));
      expect(logs?.Resource).toBe(`${arn('logs', `log-group:${name}`)}:*`);
    });

    it.each(namesOf(settings))('gives %s only existing settings', (name) => {
      const variables = variablesOf(name, settings);
      expect(Object.keys(variables).filter((key) => !(key in everySetting))).toEqual([]);
      expect(variables.LINK_KEYS).toBe(name === 'lambda-redirect' ? VARIABLES.link_keys : undefined);
      const config = parseConfig(variables);
      expect(config.BROKER_RETENTION_DAYS * 24).toBe(settings.streamRetentionHours);
      expect(config.BROKER).toBe(name === 'lambda-kafka' ? 'kafka' : 'kinesis');
      expect(config.KINESIS_STREAM).toBe(`${prefix}-clicks`);
      expect(config.DATABASE_URL).toBe('postgres://proxy.example.com:5432/tollway?sslmode=verify-full');
      expect(config.CLICK_AGE_MAX_DAYS).toBe(settings === changed ? 10 : 14);
    });
  });

  it('discards no click of the stream, however long an outage lasts', () => {
    expect(mapping('kinesis')).toMatchObject({
      maximum_retry_attempts: -1,
      maximum_record_age_in_seconds: -1,
      function_response_types: ['ReportBatchItemFailures'],
      starting_position: 'TRIM_HORIZON',
    });
    expect(shipped.functions['lambda-kafka']).toMatchObject({
      retryAttemptsMax: -1,
      recordAgeMaxSeconds: -1,
    });
  });

  it('reads Kafka only if a cluster is set, and without an on-failure destination, which would end the retries', () => {
    expect(mapping('kafka[0]')).toEqual({});
    const kafka = changed.functions['lambda-kafka'];
    expect(mapping('kafka[0]', changed)).toMatchObject({
      topics: ['tollway-clicks'],
      batch_size: kafka?.batchSize,
      maximum_batching_window_in_seconds: kafka?.batchWindowSeconds,
      starting_position: kafka?.startingPosition,
      bisect_batch_on_function_error: kafka?.bisectOnError,
      maximum_retry_attempts: kafka?.retryAttemptsMax,
      maximum_record_age_in_seconds: kafka?.recordAgeMaxSeconds,
      function_response_types: [kafka?.responseType],
      provisioned_poller_config: [{ minimum_pollers: kafka?.pollersMin, maximum_pollers: kafka?.pollersMax }],
      destination_config: [],
    });
    const statements = statementsOf(made('aws_iam_role_policy.function["lambda-kafka"]', changed).policy);
    const about = (action: string) => statements.find(({ Action }) => Action.includes(action))?.Resource;
    expect(about('kafka-cluster:ReadData')).toBe(arn('kafka', 'topic/clicks/abc/tollway-clicks'));
    expect(about('kafka-cluster:AlterGroup')).toBe(arn('kafka', 'group/clicks/abc/toll-lambda'));
  });

  it('keeps the event of a file after its last attempt, and is called for each new file', () => {
    expect(made('aws_lambda_function_event_invoke_config.function["lambda-file"]')).toMatchObject({
      destination_config: [{ on_failure: [{ destination: 'arn:aws:s3:::failures' }] }],
    });
    expect(made('aws_s3_bucket_notification.files')).toMatchObject({
      lambda_function: [
        { lambda_function_arn: arn('lambda', 'function:lambda-file'), events: ['s3:ObjectCreated:*'] },
      ],
    });
  });

  it('routes only GET and HEAD of links to the redirect', () => {
    const routes = ofType('aws_apigatewayv2_route').map(({ values }) => values.route_key);
    expect(routes.sort()).toEqual(['GET /c/{token+}', 'HEAD /c/{token+}']);
    expect(made('aws_apigatewayv2_integration.redirect')).toMatchObject({ payload_format_version: '2.0' });
    expect(ofType('aws_lambda_function_url').length).toBe(0);
    expect(ofType('aws_lambda_function_url', changed).length).toBe(1);
  });

  it('limits the concurrency if configured', () => {
    const capped = (settings: DeploymentSettings) =>
      made('aws_lambda_function.function["lambda-redirect"]', settings).reserved_concurrent_executions;
    expect([capped(shipped), capped(changed)]).toEqual([-1, 50]);
  });

  it('sends every alarm to the given topics, and uses existing metrics', () => {
    const alarms = ofType('aws_cloudwatch_metric_alarm', changed);
    expect(alarms.length).toBeGreaterThan(10);
    for (const { address, values } of alarms)
      expect(values.alarm_actions, address).toEqual([arn('sns', 'alarms')]);
    const ours = alarms.filter(({ values }) => values.namespace === 'Tollway');
    const known = new Set(Object.values(metricList).map(({ name }) => name as string));
    expect(ours.map(({ values }) => String(values.metric_name)).filter((name) => !known.has(name))).toEqual(
      [],
    );
    // The metrics of lambda-reconcile, and those for an unavailable ledger.
    for (const name of [
      'tollway_books_problems',
      'tollway_missing_clicks',
      'tollway_dead_letters',
      'tollway_database_up',
    ])
      expect(ours.map(({ values }) => values.metric_name)).toContain(name);
    expect(made('aws_cloudwatch_metric_alarm.alarm["dead-letters"]')).toMatchObject({
      namespace: 'Tollway',
      metric_name: 'tollway_dead_letters',
      dimensions: { service: 'tollway-lambda-reconcile' },
    });
    expect(made('aws_cloudwatch_metric_alarm.alarm["iterator-age"]')).toMatchObject({
      metric_name: 'IteratorAge',
      dimensions: { FunctionName: 'tollway-lambda-kinesis' },
      threshold: 300_000,
    });
  });
});

/** The statements of a policy in Terraform's state. */
function statementsOf(policy: unknown): Statement[] {
  // A parsing boundary: jsonencode wrote it.
  return (JSON.parse(String(policy)) as { Statement: Statement[] }).Statement;
}
