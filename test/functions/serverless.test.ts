import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { settings as everySetting, parseConfig } from '../../common/config/config.ts';
import { isSkipped } from '../support/skipped.ts';
import {
  allowed,
  changed,
  copyDeployment,
  type DeploymentSettings,
  EXPECTED_ACTIONS,
  type FunctionSettings,
  type Statement,
  settingPaths,
  shipped,
} from './deployment.ts';
import { oslsIsMissing, runOsls } from './osls.ts';

const SERVERLESS = join(import.meta.dirname, '..', '..', 'deploy', 'serverless');
const yml = readFileSync(join(SERVERLESS, 'serverless.yml'), 'utf8');
const PARAMETERS = {
  databaseEndpoint: 'proxy.example.com',
  databaseSecret: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:ledger-AbCdEf',
  subnetIds: 'subnet-1,subnet-2',
  securityGroupIds: 'sg-1',
  linkKeysSecret: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:link-keys-AbCdEf',
  filesBucket: 'tollway-files',
};

type Resource = {
  readonly Type: string;
  readonly DeletionPolicy?: string;
  readonly Properties: Readonly<Record<string, unknown>>;
};
type Template = Readonly<Record<string, Resource>>;

/** Packages a copy with these settings and returns the resources of the CloudFormation template. */
async function pack(settings: DeploymentSettings): Promise<Template> {
  const { folder, remove } = copyDeployment(settings);
  try {
    const service = join(folder, 'deploy', 'serverless');
    const parameters = Object.entries(PARAMETERS).map(([name, value]) => `--param=${name}=${value}`);
    await runOsls(service, ['package', ...parameters]);
    const template = join(service, '.serverless', 'cloudformation-template-update-stack.json');
    // A parsing boundary: the tests below check the parts that they use.
    return (JSON.parse(readFileSync(template, 'utf8')) as { Resources: Template }).Resources;
  } finally {
    remove();
  }
}

/** The form of lambda-kinesis in names of resources. */
const logical = (name: string) => `LambdaDash${name.replace('lambda-', '')}`;

/** Only Terraform has the function for Kafka. */
const functionsOf = ({ functions }: DeploymentSettings): [string, FunctionSettings][] =>
  Object.entries(functions).filter(([name]) => name !== 'lambda-kafka');

describe('serverless.yml', () => {
  it('reads every setting of functions.json, and no others', () => {
    const requested = [...yml.matchAll(/\$\{file\(\.\.\/functions\.json\):([^}]+)\}/g)].map(
      ([, path = '']) => path,
    );
    const there = settingPaths().filter((path) => !path.startsWith('functions.lambda-kafka.'));
    expect([...new Set(requested)].sort()).toEqual(there.sort());
  });

  it('refuses versions that ignore schedule.roleArn: the Serverless Framework, and osls before 3.63.2', () => {
    const [, least = '', below = ''] = /^frameworkVersion: '>=(\S+) <(\d+)'$/m.exec(yml) ?? [];
    // The first that has it in lib/plugins/aws/package/compile/events/schedule.js; the last Serverless Framework 3 is 3.40.0.
    expect([least, below]).toEqual(['3.63.2', '5']);
    // Unknown properties are errors instead of warnings.
    expect(yml).toMatch(/^configValidationMode: error$/m);
  });
});

const missing = await oslsIsMissing();

describe.skipIf(isSkipped(missing))('osls package, without credentials', () => {
  const templates = new Map<DeploymentSettings, Template>();
  beforeAll(async () => {
    if (missing !== null) throw new Error(missing);
    for (const settings of [shipped, changed]) templates.set(settings, await pack(settings));
  }, 120_000);

  const templateOf = (settings: DeploymentSettings) => templates.get(settings) ?? {};
  const properties = (name: string, settings = shipped) => templateOf(settings)[name]?.Properties;
  const functionOf = (name: string) =>
    // A parsing boundary: the tests below check the parts that they use.
    properties(`${logical(name)}LambdaFunction`) as {
      Role: { 'Fn::GetAtt': [string] };
      Environment: { Variables: Record<string, unknown> };
    };

  describe.each([
    ['as shipped', shipped],
    ['with other settings', changed],
  ])('%s', (_, settings) => {
    it.each(functionsOf(settings))(
      'creates %s with the settings of functions.json',
      (name, { memoryMb, timeoutSeconds }) => {
        expect(properties(`${logical(name)}LambdaFunction`, settings)).toMatchObject({
          Runtime: settings.runtime,
          Architectures: [settings.architecture],
          Handler: settings.handler,
          MemorySize: memoryMb,
          Timeout: timeoutSeconds,
          VpcConfig: { SubnetIds: { 'Fn::Split': [',', 'subnet-1,subnet-2'] } },
        });
        expect(properties(`${logical(name)}LogGroup`, settings)).toMatchObject({
          RetentionInDays: settings.logRetentionDays,
        });
      },
    );

    it('has the stream settings of functions.json', () => {
      const kinesis = settings.functions['lambda-kinesis'];
      expect(properties('LambdaDashkinesisEventSourceMappingKinesisClicks', settings)).toMatchObject({
        EventSourceArn: { 'Fn::GetAtt': ['Clicks', 'Arn'] },
        BatchSize: kinesis?.batchSize,
        MaximumBatchingWindowInSeconds: kinesis?.batchWindowSeconds,
        ParallelizationFactor: kinesis?.parallelizationFactor,
        StartingPosition: kinesis?.startingPosition,
        BisectBatchOnFunctionError: kinesis?.bisectOnError,
        MaximumRetryAttempts: kinesis?.retryAttemptsMax,
        MaximumRecordAgeInSeconds: kinesis?.recordAgeMaxSeconds,
        FunctionResponseTypes: [kinesis?.responseType],
        DestinationConfig: { OnFailure: { Destination: { 'Fn::GetAtt': ['Failures', 'Arn'] } } },
      });
      expect(properties('Clicks', settings)).toMatchObject({
        RetentionPeriodHours: settings.streamRetentionHours,
      });
    });

    it.each(functionsOf(settings).filter(([, { eventAgeMaxSeconds }]) => eventAgeMaxSeconds !== undefined))(
      'sets the last attempt of %s from functions.json',
      (name, { eventAgeMaxSeconds, retryAttemptsMax }) => {
        expect(properties(`${logical(name)}LambdaEvConf`, settings)).toMatchObject({
          MaximumEventAgeInSeconds: eventAgeMaxSeconds,
          MaximumRetryAttempts: retryAttemptsMax,
        });
      },
    );

    it.each(functionsOf(settings).filter(([, { schedule }]) => schedule !== undefined))(
      'calls %s by its schedule',
      (name, { schedule }) => {
        expect(properties(`${logical(name)}SchedulerSchedule1`, settings)).toMatchObject({
          ScheduleExpression: schedule,
          State: 'ENABLED',
          Target: { Arn: { 'Fn::GetAtt': [`${logical(name)}LambdaFunction`, 'Arn'] } },
        });
      },
    );
  });

  it('has a separate schedule for the deep reconciliation', () => {
    expect(properties('LambdaDashreconcileSchedulerSchedule2')).toMatchObject({
      ScheduleExpression: shipped.functions['lambda-reconcile']?.deepSchedule,
      Target: { Input: '{"deep":true}' },
    });
  });

  it('discards no click of the stream, however long an outage lasts', () => {
    expect(properties('LambdaDashkinesisEventSourceMappingKinesisClicks')).toMatchObject({
      MaximumRetryAttempts: -1,
      MaximumRecordAgeInSeconds: -1,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      StartingPosition: 'TRIM_HORIZON',
    });
  });

  it('keeps the event of a file after its last attempt', () => {
    expect(properties('LambdaDashfileLambdaEvConf')).toMatchObject({
      DestinationConfig: { OnFailure: { Destination: { 'Fn::GetAtt': ['Failures', 'Arn'] } } },
    });
  });

  it('retains the resources that hold clicks when the stack is deleted', () => {
    const holders = Object.entries(templateOf(shipped)).filter(
      ([name, { Type }]) =>
        /^AWS::(Kinesis::Stream|S3::Bucket)$/.test(Type) && name !== 'ServerlessDeploymentBucket',
    );
    expect(holders.map(([name]) => name).sort()).toEqual(['Clicks', 'Failures', 'S3BucketFiles']);
    for (const [name, { DeletionPolicy }] of holders) expect(DeletionPolicy, name).toBe('Retain');
  });

  it('routes only GET and HEAD of links to the redirect', () => {
    const routes = Object.values(templateOf(shipped)).filter(
      ({ Type }) => Type === 'AWS::ApiGatewayV2::Route',
    );
    expect(routes.map(({ Properties }) => Properties.RouteKey).sort()).toEqual([
      'GET /c/{token+}',
      'HEAD /c/{token+}',
    ]);
    expect(properties('HttpApiIntegrationLambdaDashredirect')).toMatchObject({ PayloadFormatVersion: '2.0' });
  });

  it.each(functionsOf(shipped).map(([name]) => name))('gives %s only existing settings', (name) => {
    const variables = functionOf(name).Environment.Variables;
    expect(Object.keys(variables).filter((key) => !(key in everySetting))).toEqual([]);
    // CloudFormation inserts the name of the stream and the keys.
    const { KINESIS_STREAM: stream, LINK_KEYS: keys, ...written } = variables;
    expect(stream).toEqual({ Ref: 'Clicks' });
    expect(keys).toBe(
      name === 'lambda-redirect' ? `{{resolve:secretsmanager:${PARAMETERS.linkKeysSecret}}}` : undefined,
    );
    const config = parseConfig(written as Record<string, string>);
    expect(config.BROKER_RETENTION_DAYS * 24).toBe(shipped.streamRetentionHours);
    expect(config.DATABASE_URL).toBe('postgres://proxy.example.com:5432/tollway?sslmode=verify-full');
  });

  it.each(functionsOf(shipped).map(([name]) => name))(
    'gives %s only the permissions that it needs',
    (name) => {
      const { Role } = functionOf(name);
      const role = Role['Fn::GetAtt'][0];
      const { actions, tooWide } = allowed(statementsOf(properties(role)));
      expect({ actions, tooWide }).toEqual({ actions: EXPECTED_ACTIONS[name], tooWide: [] });
      // A separate role, which can write only to its own log group.
      expect(role.toLowerCase()).toBe(`${name.replace('lambda-', '')}role`);
      const logs = statementsOf(properties(role)).find(({ Action }) => Action.includes('logs:PutLogEvents'));
      expect(logs?.Resource).toEqual({ 'Fn::GetAtt': [`${logical(name)}LogGroup`, 'Arn'] });
    },
  );

  it('calls scheduled functions with a role that the scheduler can assume', () => {
    const schedules = Object.entries(templateOf(shipped)).filter(
      ([, { Type }]) => Type === 'AWS::Scheduler::Schedule',
    );
    expect(schedules).toHaveLength(3);
    for (const [name, { Properties }] of schedules)
      expect(Properties.Target, name).toMatchObject({ RoleArn: { 'Fn::GetAtt': ['ScheduleRole', 'Arn'] } });
    expect(properties('ScheduleRole')?.AssumeRolePolicyDocument).toMatchObject({
      Statement: [{ Effect: 'Allow', Principal: { Service: 'scheduler.amazonaws.com' } }],
    });
  });

  it('creates no other roles', () => {
    const roles = Object.entries(templateOf(shipped)).filter(([, { Type }]) => Type === 'AWS::IAM::Role');
    expect(roles.map(([name]) => name).sort()).toEqual([
      'FileRole',
      'KinesisRole',
      'MaintenanceRole',
      'ReconcileRole',
      'RedirectRole',
      'ScheduleRole',
    ]);
    expect(allowed(statementsOf(properties('ScheduleRole')))).toEqual({
      actions: ['lambda:InvokeFunction'],
      tooWide: [],
    });
  });
});

/** All statements of the inline policies of a role. */
function statementsOf(role: Readonly<Record<string, unknown>> | undefined): Statement[] {
  const policies = role?.Policies as { PolicyDocument: { Statement: Statement[] } }[];
  return policies.flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
}
