import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { addWebhook, sendTestEvent, updateWebhook } from '../../../ledger/webhooks/webhooks.ts';
import type { Drill, World } from '../drill.ts';
import { lockTable } from './database.ts';

/** A target on this machine whose answers can be changed. */
async function openTarget(status: number) {
  let answer = status;
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(answer).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    setAnswer: (next: number) => {
      answer = next;
    },
    close: () => server.close(),
  };
}

async function addTarget({ pool }: World, url: string): Promise<number> {
  const { webhook } = await addWebhook(pool, { url }, 'private');
  await sendTestEvent(pool, webhook.id);
  return webhook.id;
}

/** Drills of webhooks. */
export const webhookDrills: readonly Drill[] = [
  {
    cause: 'the target of a webhook answers 500',
    alerts: { TollwayWebhooksFailing: [['> 900', '> 10']] },
    isGentle: true,
    begin: async (world) => {
      const target = await openTarget(500);
      const id = await addTarget(world, target.url);
      return async () => {
        target.setAnswer(200);
        // Ends the wait for the next attempt.
        await updateWebhook(world.pool, id, { status: 'active' }, 'private');
      };
    },
  },
  {
    cause: 'the console cannot record the result of attempts',
    alerts: { TollwayWebhooksLate: [['> 120', '> 10']] },
    isGentle: true,
    begin: async (world) => {
      const target = await openTarget(200);
      const unlock = await lockTable(world.pool, 'webhook_attempt');
      await addTarget(world, target.url);
      return unlock;
    },
  },
];
