import { once } from 'node:events';
import { formatAmount } from '../../common/money.ts';
import { printableJson } from '../../common/text.ts';
import { type ExportRow, exportLedger } from '../../processor/export.ts';
import { command, withDatabase } from '../command.ts';
import { parseTime } from '../parse.ts';

function toLine(row: ExportRow): string {
  return printableJson({
    clickId: row.clickId,
    nonce: row.nonce,
    advertiserId: row.advertiserId,
    campaignId: row.campaignId,
    adId: row.adId,
    outcome: row.outcome,
    reason: row.reason,
    charged: formatAmount(row.chargedMicros),
    currency: row.currency,
    clickedAt: row.clickedAt?.toISOString() ?? null,
    settledAt: row.settledAt.toISOString(),
    origin: row.origin,
    sequence: row.sequence === null ? null : Number(row.sequence),
    kind: row.kind,
  });
}

export const exportCommand = command(
  'export',
  'The ledger by time of settlement, as NDJSON: a line a click',
  [
    'export --since 24h > clicks.ndjson',
    'export --since 2026-01-01 --until 2026-02-01 | gzip > january.ndjson.gz',
  ],
)
  .option('--since <time>', 'settled at or after', parseTime, new Date(0))
  .option('--until <time>', 'settled before (default: now)', parseTime)
  .action(async ({ since, until }: { since: Date; until?: Date }) => {
    await withDatabase(async (pool) => {
      await exportLedger(pool, since, until ?? new Date(), async (rows) => {
        const text = rows.map((row) => `${toLine(row)}\n`).join('');
        if (!process.stdout.write(text)) await once(process.stdout, 'drain');
      });
    });
  });
