import { errorMessage } from '../../common/errors.ts';
import { createClient } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { WEBHOOKS_CHANNEL } from '../../ledger/webhooks/emit.ts';
import { WakeUp } from './wake-up.ts';

/** Longest wait for an answer of the database, in ms. */
const QUERY_MS_MAX = 10_000;
/** Time between two checks of the connection, in ms. */
const CHECK_MS = 10_000;
/** Longest wait for a connection to close, in ms. */
const END_MS_MAX = 1_000;

/** Calls `onNotification` for each new delivery, until `stop` is aborted. Reconnects without limit; deliveries are also found by polling. */
export async function listenForDeliveries(
  databaseUrl: string,
  onNotification: () => void,
  { stop, log }: { readonly stop: AbortSignal; readonly log: ThrottledLog },
): Promise<void> {
  for (let failures = 1; !stop.aborted; failures += 1) {
    const client = createClient(databaseUrl, 'webhook notifications', QUERY_MS_MAX);
    const ended = new WakeUp();
    const end = () => ended.wake();
    client.on('error', end);
    client.on('end', end);
    client.on('notification', onNotification);
    stop.addEventListener('abort', end);
    let isOpen = true;
    client.once('end', () => {
      isOpen = false;
    });
    try {
      await client.connect();
      await client.query(`listen ${WEBHOOKS_CHANNEL}`);
      onNotification();
      while (isOpen && !stop.aborted) {
        failures = 0;
        await ended.wait(CHECK_MS);
        if (isOpen && !stop.aborted) await client.query('select 1');
      }
    } catch (error) {
      log.fail({ problem: errorMessage(error) });
    } finally {
      stop.removeEventListener('abort', end);
      // A broken connection may never answer `end`.
      await Promise.race([client.end().catch(() => {}), sleep(END_MS_MAX)]);
    }
    await sleep(backoffMs(failures), stop);
  }
}
