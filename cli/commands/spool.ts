import { readdirSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { createPublisher } from '../../brokers/create-publisher.ts';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { isUuid } from '../../common/uuid.ts';
import { WATERMARK_MAX } from '../../contract/click-event.ts';
import {
  correctSpool,
  listSpoolCorrections,
  readCorrectionBefore,
  type SpoolCorrection,
} from '../../ledger/spools/corrections.ts';
import { adoptDeadSpools, adoptSpool, type DeadSpool } from '../../producer/dead-spools.ts';
import { Relay, type RelayDeps } from '../../producer/relay.ts';
import { createWatermarkLog } from '../../producer/watermark-sender.ts';
import { group, type Output, recordIntent, rowsCommand, withChange, withDatabase } from '../context.ts';
import { parseCount } from '../parse.ts';
import { printLine, printNote, printRow, printRows } from '../print.ts';
import { beyondId, printPages } from '../print-pages.ts';

/** How long a drain tries to send the last watermark of a spool, in ms: long enough for a broker or two that do not answer. */
const LAST_WATERMARK_MS = 10_000;

/** Adopts the spools of a folder that have no owner. Throws `not_a_spool` if it has no spool, `spool_in_use` if all have an owner. */
async function adoptAll(folder: string): Promise<DeadSpool[]> {
  const spools = await Array.fromAsync(adoptDeadSpools(folder));
  if (spools.length > 0) return spools;
  if (readdirSync(folder).some(isUuid)) {
    throw new TollwayError(
      'spool_in_use',
      `Expected spools that no ad server uses, got ${folder}: their ad server runs`,
    );
  }
  throw new TollwayError('not_a_spool', `Expected a spool or a folder of spools, got ${folder}`);
}

/** Adopts the spool that a folder is, or the spools in it. */
async function adopt(folder: string): Promise<DeadSpool[]> {
  const found = statSync(folder, { throwIfNoEntry: false });
  if (found === undefined)
    throw new TollwayError(
      'not_a_spool',
      `Expected a spool or a folder of spools, got ${folder}, which does not exist`,
    );
  if (!found.isDirectory())
    throw new TollwayError(
      'not_a_spool',
      `Expected a spool or a folder of spools, got ${folder}, which is not a folder`,
    );
  if (!isUuid(basename(folder))) return adoptAll(folder);
  const spool = await adoptSpool(folder);
  if (spool === null)
    throw new TollwayError(
      'spool_in_use',
      `Expected a spool that no ad server uses, got ${folder}: its ad server runs`,
    );
  return [spool];
}

const drain = rowsCommand(
  'drain',
  'Publish the clicks of a spool that was rescued from another host, and remove the spool',
  ['spool drain /mnt/rescued/.tollway/spool'],
)
  .argument('<folder>', 'a spool or a folder of spools')
  .action(async (given: string, { format }: Output) => {
    await withDatabase(async (pool, { config }) => {
      const folder = resolve(given);
      const logger = createLogger('spool drain', config);
      const publisher = await createPublisher(config, pool, logger);
      const deps = {
        publisher,
        options: {
          batchMax: config.RELAY_BATCH_MAX,
          lingerMs: 0,
          watermarkIntervalMs: config.WATERMARK_INTERVAL_MS,
          lastWatermarkMs: LAST_WATERMARK_MS,
        },
        logger,
        watermarkLog: createWatermarkLog(logger),
      };
      const rows: DrainedSpool[] = [];
      const unfinished: string[] = [];
      for (const spool of await adopt(folder)) {
        const after = { clicks: spool.accepted, folder };
        await recordIntent(pool, { action: 'spool.drain', subject: spool.spoolId, after });
        const { isRemoved, ...row } = await drainSpool(spool, deps);
        rows.push(row);
        if (!isRemoved) unfinished.push(spool.spoolId);
        if (format === 'table') printDrained(row);
      }
      await publisher.close();
      if (format !== 'table') printRows(rows, { format }, '');
      if (unfinished.length > 0)
        throw new TollwayError(
          'broker_away',
          `Expected the broker to take the watermark of each spool, got none of ${unfinished.join(', ')}: their clicks are published; run the command again when all partitions or shards can be written`,
        );
    });
  });

type DrainedSpool = { readonly spoolId: string; readonly clicks: number; readonly damaged: number };

/** Relays one spool and releases it. `isRemoved`: false if the broker has taken the clicks, but not the last watermark. */
async function drainSpool(
  spool: DeadSpool,
  deps: Omit<RelayDeps, 'metrics'>,
): Promise<DrainedSpool & { readonly isRemoved: boolean }> {
  // Of this spool alone, so that its counters are the result.
  const metrics = createMetrics();
  const relay = new Relay({ ...spool, openSegment: null, roll: () => {} }, { ...deps, metrics });
  relay.end();
  const isRemoved = await relay.run();
  spool.release();
  const { relayedClicks, spoolDamaged } = metrics;
  const [clicks, damaged] = [await readCounter(relayedClicks), await readCounter(spoolDamaged)];
  return { spoolId: spool.spoolId, clicks, damaged, isRemoved };
}

function printDrained({ spoolId, clicks, damaged }: DrainedSpool): void {
  const unread = damaged === 0 ? '' : `; ${counted(damaged, 'click')} could not be read back`;
  printLine(`${spoolId}: published ${counted(clicks, 'click')}${unread}`);
}

async function readCounter(counter: ProcessMetrics['relayedClicks']): Promise<number> {
  return (await counter.get()).values[0]?.value ?? 0;
}

function toRow(correction: SpoolCorrection) {
  const { id, spoolId, acceptedBefore, acceptedAfter, reason, correctedBy, correctedAt } = correction;
  return {
    id: String(id),
    spool: spoolId,
    before: String(acceptedBefore),
    after: String(acceptedAfter),
    by: correctedBy,
    at: correctedAt.toISOString(),
    reason,
  };
}

const correct = rowsCommand(
  'correct',
  'Set the accepted count of a spool after a wrong watermark. The correction is recorded',
  ['spool correct 01a208fb-f934-70de-beaa-9335acbb4502 --accepted 500 --reason "forged watermark"'],
)
  .argument('<spool>', 'id of the spool, as reconcile shows it', parseSpoolId)
  .requiredOption('--accepted <n>', 'number of clicks that the spool has accepted', parseAccepted)
  .requiredOption('--reason <text>', 'reason of the correction, 1–500 characters')
  .action(async (id: string, { accepted, reason, format }: Output & { accepted: number; reason: string }) => {
    const row = toRow(await withChange((connection) => correctSpool(connection, id, accepted, reason)));
    if (format !== 'table') printRow(row, { format });
    else printLine(`${row.spool}: ${counted(BigInt(row.after), 'click')} accepted, before ${row.before}`);
  });

const corrections = rowsCommand('corrections', 'List the corrections of spools, oldest first', [
  'spool corrections',
])
  .option('--limit <n>', 'number of rows at most; the latest are shown', parseCount, 100)
  .action(async (options: Output & { limit: number }) => {
    await withDatabase(async (pool) => {
      const first = await readCorrectionBefore(pool, options.limit);
      const read = (page: { limit: number; after?: bigint }) =>
        listSpoolCorrections(pool, { after: first ?? 0n, ...page });
      await printPages(
        {
          read: beyondId<SpoolCorrection>(read),
          toRows: (items) => items.map(toRow),
          empty: 'There are no corrections.',
        },
        options,
      );
      if (first !== null) printNote(`There are earlier ones: --limit lists at most ${options.limit}`);
    });
  });

function parseSpoolId(text: string): string {
  const id = text.toLowerCase();
  if (!isUuid(id)) throw new TollwayError('bad_id', `Expected the UUID of a spool, got "${text}"`);
  return id;
}

function parseAccepted(text: string): number {
  if (!/^\d{1,12}$/.test(text)) {
    throw new TollwayError('bad_count', `Expected 0–${WATERMARK_MAX} clicks, got "${text}"`);
  }
  return Number(text);
}

export const spool = group(
  'spool',
  'Manage spools, the durable logs of accepted clicks in front of the broker',
  [drain, correct, corrections],
);
