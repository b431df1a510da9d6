import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/imports.ts';

const hook = join(ROOT, 'test/support/children/print-packages.ts');
const CREATE_APP = `
  import { parseConfig } from './common/config/config.ts';
  import { createLogger } from './common/telemetry/logger.ts';
  import { createMetrics } from './common/telemetry/metrics.ts';
  import { createApp } from './console/api/app.ts';
  import './console/serve.ts';
  const config = parseConfig({ LOG_LEVEL: 'silent' });
  await createApp({ pool: {}, config, metrics: createMetrics('console'), logger: createLogger('console', config) });
  process.exit();
`;

it('A console starts without what only some requests and webhooks need', () => {
  const command = ['--import', hook, '--input-type=module', '--eval', CREATE_APP];
  const { status, stderr } = spawnSync(process.execPath, command, {
    cwd: ROOT,
    env: { PATH: process.env.PATH },
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect(status, stderr).toBe(0);
  const packages = JSON.parse(stderr) as string[];
  expect(packages).toContain('fastify');
  expect(
    packages.filter((one) =>
      /^(undici|ajv|yaml|esbuild|@scalar.*|@fastify\/swagger|kafkajs|@aws.*)$/.test(one),
    ),
  ).toEqual([]);
});
