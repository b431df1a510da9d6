import type { FastifyRequest } from 'fastify';
import * as z from 'zod';
import { boundExport, type ExportRow, exportBound } from '../../../ledger/clicks/export.ts';
import { TEXT_FORMATS, type TextFormat, textHeader, textLines } from '../../../ledger/clicks/export-text.ts';
import type { Caller } from '../access.ts';
import type { App, LongDeps } from '../deps.ts';
import { throwTooLong } from '../long-requests.ts';
import { restrictClickFilter } from '../restrict-click-filter.ts';
import { IdParameter, Publisher, Time } from '../schemas.ts';
import { TextBody, textStream } from '../text-stream.ts';

/** The media type of each text format. */
export const MEDIA_TYPES: Readonly<Record<TextFormat, string>> = {
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8',
};

const Format = z.enum(TEXT_FORMATS).default('ndjson');

const tags = ['Exports'];

export function exportRoutes(app: App, { pool, longPool, longRequests }: LongDeps): void {
  app.get(
    '/v1/exports/clicks',
    {
      exposeHeadRoute: false,
      config: {
        access: 'clicks.read',
        errors: [
          ...(['bad_window', 'day_closed', 'unknown_advertiser', 'unknown_campaign'] as const),
          ...(['busy', 'query_too_long', 'replica'] as const),
        ],
      },
      schema: {
        ...{ tags, operationId: 'exportClicks', summary: 'Export settled clicks and credits' },
        description:
          'A stream of what was settled from `since` on. The header `Tollway-Until` has the exclusive end: nothing is settled before it any more, so the next export begins there. A stream that breaks off is incomplete: export again. Rows are those of `npx tollway export`.',
        querystring: z.strictObject({
          since: Time.meta({
            description:
              'Inclusive lower bound of the time of settlement. Before the days that the ledger has dropped (`LEDGER_RETENTION_DAYS`) it is refused with `day_closed`, which names the earliest one.',
          }),
          until: Time.optional().meta({
            description: 'Exclusive upper bound; default and maximum: `Tollway-Until`.',
          }),
          advertiserId: IdParameter.optional(),
          campaignId: IdParameter.optional(),
          publisher: Publisher.optional(),
          format: Format,
        }),
        response: {
          200: {
            content: { 'application/x-ndjson': { schema: TextBody }, 'text/csv': { schema: TextBody } },
          },
        },
      },
    },
    async (request, reply) => {
      const { since, until, format, ...wanted } = request.query;
      const filter = await restrictClickFilter(pool, request.caller, wanted);
      const end = await longRequests.begin({ kind: 'export', limitedAs: request.authentication.limitedAs });
      const bounds = { ...filter, since, ...(until && { until }) };
      const period = await boundExport(longPool, bounds).catch((error: unknown) => {
        end();
        throwTooLong(error);
      });
      reply.type(MEDIA_TYPES[format]).header('tollway-until', period.until.toISOString());
      const body = textStream(
        async (write) => {
          await write(textHeader(format));
          await exportBound(longPool, period, (rows) =>
            write(textLines(format, visibleTo(request.caller, rows))),
          ).catch(throwTooLong);
        },
        logFailure(request),
        end,
      );
      return reply.send(body);
    },
  );
}

/** Rows for a caller. A restricted one gets no positions in spools: sequences count the clicks of all advertisers. */
function visibleTo({ advertiserIds }: Caller, rows: readonly ExportRow[]): readonly ExportRow[] {
  return advertiserIds === null ? rows : rows.map((row) => ({ ...row, spoolId: null, sequence: null }));
}

/** A response that is being sent cannot become an error: the log has the reason. */
export function logFailure(request: FastifyRequest): (error: unknown) => void {
  return (err) =>
    request.log.error({ err }, 'An export of the HTTP API broke off. The client has to export again');
}
