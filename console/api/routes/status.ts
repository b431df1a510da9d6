import * as z from 'zod';
import { READY } from '../../../common/part-health.ts';
import { readVersion } from '../../../common/version.ts';
import { healthReader } from '../../live/health.ts';
import type { App, Deps } from '../deps.ts';

const PartHealth = z
  .string()
  .meta({ description: '`ready`, or the problem in one line.', examples: [READY] });

const Status = z
  .strictObject({
    version: z.string().meta({ examples: ['0.1.0'] }),
    ready: z.boolean().meta({ description: 'Whether every part is ready.' }),
    health: z.strictObject({ adServer: PartHealth, processor: PartHealth, database: PartHealth }),
  })
  .meta({ id: 'Status', description: 'Health of the parts of all hosts, in one line each.' });

/** Adds the route of the health of the parts. */
export function statusRoutes(app: App, { pool, config, reportingState }: Deps): void {
  const readHealth = healthReader(pool, config, reportingState);
  const version = readVersion();
  app.get(
    '/v1/status',
    {
      config: { access: 'status.read' },
      schema: {
        ...{ tags: ['Operations'], operationId: 'getStatus', summary: 'Get the health of the parts' },
        description:
          'From the reports of the parts; `GET /v1/operations` has each. Where none has reported, the operations port of the settings is asked.',
        response: { 200: Status },
      },
    },
    async () => {
      const health = await readHealth();
      return { version, ready: Object.values(health).every((one) => one === READY), health };
    },
  );
}
