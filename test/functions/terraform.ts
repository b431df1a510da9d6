import { execFile } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { outputOf } from '../../emulators/process/cache-folder.ts';
import { shipped } from './deployment.ts';

const RUN_MS_MAX = 120_000;
/** Limit of the output: a state is printed with all schemas of the provider. */
const PRINTED_BYTES_MAX = 128 * 2 ** 20;

/** Further folders with providers on machines without a network. */
const PLUGIN_FOLDERS =
  '/{opt,usr/lib,usr/share,usr/local/lib,usr/local/share}/*/registry.terraform.io/hashicorp/aws';

export type Ran = { readonly succeeds: boolean; readonly stdout: string; readonly stderr: string };

/** Runs Terraform in a folder. */
export async function terraform(folder: string, ...args: string[]): Promise<Ran> {
  // Terraform sends no usage data, and uses the folder `.terraform` of this deployment.
  const { TF_DATA_DIR: _, ...inherited } = process.env;
  const env = { ...inherited, CHECKPOINT_DISABLE: '1', TF_IN_AUTOMATION: '1' };
  const options = { cwd: folder, env, maxBuffer: PRINTED_BYTES_MAX, timeout: RUN_MS_MAX };
  return promisify(execFile)('terraform', args, options).then(
    (ran) => ({ succeeds: true, ...ran }),
    (error: Ran) => ({ succeeds: false, stdout: error.stdout, stderr: error.stderr }),
  );
}

/** Terraform's version as a number, 1.011 for 1.11; 0 without one. */
export async function terraformVersion(): Promise<number> {
  const [, major, minor] = /Terraform v(\d+)\.(\d+)/.exec(await outputOf('terraform', 'version')) ?? [];
  return Number(major ?? 0) + Number(minor ?? 0) / 1_000;
}

/**
 * Makes the AWS provider available to Terraform: from TF_PLUGIN_DIR, or from Terraform's own locations (its configuration, its
 * folders, its registry), or from other usual folders. Returns `null`, or one line with the reason if there is none.
 */
export async function initialize(folder: string): Promise<string | null> {
  const init = (...options: string[]) =>
    terraform(folder, 'init', '-backend=false', '-input=false', '-no-color', ...options);
  const { TF_PLUGIN_DIR: given } = process.env;
  if (given) {
    const { succeeds, stderr } = await init(`-plugin-dir=${given}`);
    return succeeds ? null : `TF_PLUGIN_DIR: expected an AWS provider for Terraform in ${given}: ${stderr}`;
  }
  if ((await init()).succeeds) return null;
  for (const found of globSync(PLUGIN_FOLDERS)) {
    if ((await init(`-plugin-dir=${join(found, '..', '..', '..')}`)).succeeds) return null;
  }
  return 'Terraform gets its AWS provider neither from its registry nor from a folder: set TF_PLUGIN_DIR';
}

/** A resource after an apply. */
export type Made = {
  readonly address: string;
  readonly type: string;
  readonly values: Record<string, unknown>;
};

const ACCOUNT = '123456789012';

/** A generated name in the form of AWS. */
export function arn(service: string, rest: string): string {
  return `arn:aws:${service}:eu-west-1:${ACCOUNT}:${rest}`;
}

/**
 * Applies a copy of deploy/terraform to Terraform's mock of AWS (`mock_provider`). It calls no service and evaluates every
 * expression, unlike `validate`. Returns the resources by address. Throws Terraform's errors.
 */
export async function applyToMock(folder: string, variables: object): Promise<Map<string, Made>> {
  // Terraform destroys all resources after a test, including the stream.
  const stream = join(folder, 'kinesis.tf');
  writeFileSync(
    stream,
    readFileSync(stream, 'utf8').replace('prevent_destroy = true', 'prevent_destroy = false'),
  );
  writeFileSync(join(folder, 'apply.tftest.hcl'), mockOf(variables));
  const { stdout, stderr } = await terraform(folder, 'test', '-json', '-verbose');
  // A parsing boundary: these are the used fields of a message.
  const messages = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map(
      (line) =>
        JSON.parse(line) as {
          '@level': string;
          '@message': string;
          type: string;
          test_state?: { root_module?: { resources?: Made[] } };
        },
    );
  const problems = messages
    .filter((message) => message['@level'] === 'error')
    .map((message) => message['@message']);
  const state = messages.find(({ type }) => type === 'test_state')?.test_state;
  if (state === undefined && problems.length === 0)
    problems.push(`terraform test printed no state: ${stderr}`);
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return new Map((state?.root_module?.resources ?? []).map((made) => [made.address, made]));
}

/** A .tftest.hcl with one run, and mock values where Terraform checks the form of a name. */
function mockOf(variables: object): string {
  const mocked = [
    ['data', 'aws_caller_identity', { account_id: ACCOUNT }],
    ['data', 'aws_partition', { partition: 'aws' }],
    ['data', 'aws_region', { id: 'eu-west-1' }],
    ['resource', 'aws_apigatewayv2_api', { execution_arn: arn('execute-api', 'api') }],
    ['resource', 'aws_iam_role', { arn: `arn:aws:iam::${ACCOUNT}:role/some` }],
    ['resource', 'aws_kinesis_stream', { arn: arn('kinesis', 'stream/clicks') }],
  ].map(([kind, type, defaults]) => `mock_${kind} "${type}" {\n defaults = ${JSON.stringify(defaults)}\n }`);
  const named = [
    ...['failures', 'files'].map((bucket) => [`aws_s3_bucket.bucket["${bucket}"]`, `arn:aws:s3:::${bucket}`]),
    ...Object.keys(shipped.functions).flatMap((name) => [
      [`aws_lambda_function.function["${name}"]`, arn('lambda', `function:${name}`)],
      [`aws_cloudwatch_log_group.function["${name}"]`, arn('logs', `log-group:${name}`)],
    ]),
  ].map(
    ([target, name]) =>
      `override_resource {\n target = ${target}\n values = ${JSON.stringify({ arn: name })}\n }`,
  );
  const given = Object.entries(variables).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
  return [
    `mock_provider "aws" {\n${[...mocked, ...named].join('\n')}\n}`,
    `variables {\n${given.join('\n')}\n}`,
    'run "apply" {\n command = apply\n}\n',
  ].join('\n');
}
