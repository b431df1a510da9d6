import * as z from 'zod';
import {
  type AuditEntry as AuditChange,
  type AuditFilter,
  type AuditValues,
  boundAudit,
  exportAudit,
  listAudit,
} from '../../../ledger/access/audit-log.ts';
import { AUDIT_FORMATS, auditHeader, auditLines } from '../../../ledger/access/audit-text.ts';
import { allowedRules, assertAdvertiser, type Caller } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { listQuery, pageOf, readPageBelow } from '../pagination.ts';
import { BigId, Currency, Id, IdParameter, Time } from '../schemas.ts';
import { TextBody, textStream } from '../text-stream.ts';
import { logFailure, MEDIA_TYPES } from './exports.ts';

const Values = z.record(z.string(), z.unknown()).nullable();

export const AuditEntry = z
  .strictObject({
    id: BigId,
    at: Time,
    actorType: z.enum(['key', 'cli', 'system', 'database']),
    actor: z.string().meta({
      description: 'Id of the API key, user of the command line, component, or database role.',
      examples: ['3'],
    }),
    actorName: z.string().nullable().meta({ description: 'Name of the API key at that time.' }),
    actorRole: z.string().nullable().meta({ description: 'Role of the API key at that time.' }),
    action: z.string().meta({ examples: ['campaign.update'] }),
    subject: z.string().meta({ description: 'Id of what was changed.', examples: ['7'] }),
    advertiserId: Id.nullable().meta({ description: '`null` if the subject belongs to no advertiser.' }),
    currency: Currency.nullable(),
    before: Values.meta({ description: 'Values of the changed fields; `null` for something new.' }),
    after: Values.meta({ description: 'Values of the changed fields.' }),
  })
  .meta({ id: 'AuditEntry', description: 'A change, with who made it and when.' });

const filters = {
  advertiserId: IdParameter.optional(),
  actor: z
    .string()
    .max(200)
    .optional()
    .meta({ description: 'Id or name of an API key, user, component or role.' }),
  action: z
    .string()
    .max(100)
    .optional()
    .meta({
      description: '`campaign.update`, or `campaign` for all actions of campaigns.',
      examples: ['campaign'],
    }),
  subject: z.string().max(200).optional().meta({ description: 'Id of what was changed.' }),
  since: Time.optional(),
  until: Time.optional().meta({ description: 'Exclusive.' }),
};
type Filters = z.output<z.ZodObject<typeof filters>>;

/** A restricted caller sees the changes of its advertisers alone. Throws `unknown_advertiser` for those of others. */
function filterOf(
  caller: Caller,
  { advertiserId, actor, action, subject, since, until }: Filters,
): AuditFilter {
  if (advertiserId !== undefined) assertAdvertiser(caller, advertiserId);
  const advertiserIds = advertiserId === undefined ? caller.advertiserIds : [advertiserId];
  return {
    ...(advertiserIds && { advertiserIds }),
    ...(actor !== undefined && { actor }),
    ...(action !== undefined && { action }),
    ...(subject !== undefined && { subject }),
    ...(since && { since }),
    ...(until && { until }),
  };
}

/** The entries as a caller may see them: the URL of a webhook can contain a secret, so only those who manage webhooks see more than its origin. */
function visibleTo(caller: Caller, entries: readonly AuditChange[]): AuditChange[] {
  if (allowedRules(caller).includes('webhooks.manage')) return [...entries];
  return entries.map((entry) =>
    entry.action.startsWith('webhook.')
      ? { ...entry, before: withOrigin(entry.before), after: withOrigin(entry.after) }
      : entry,
  );
}

function withOrigin(values: AuditValues | null): AuditValues | null {
  return typeof values?.url === 'string' ? { ...values, url: `${URL.parse(values.url)?.origin}/…` } : values;
}

const tags = ['Audit log'];
const access = 'audit.read';

export function auditRoutes(app: App, { pool }: Deps): void {
  app.get(
    '/v1/audit',
    {
      config: { access, errors: ['bad_window', 'unknown_advertiser'] },
      schema: {
        ...{ tags, operationId: 'listAudit', summary: 'List who changed what' },
        description:
          'Changes of settings, budgets, keys and webhooks, newest first. Entries are never changed. Keys that cannot manage webhooks get only the origin of their URLs.',
        querystring: listQuery(filters),
        response: { 200: pageOf('AuditList', AuditEntry) },
      },
    },
    async ({ query: { limit, cursor, ...wanted }, caller }) => {
      const filter = filterOf(caller, wanted);
      return readPageBelow({ limit, cursor }, async (range) =>
        visibleTo(caller, await listAudit(pool, { ...filter, ...range })),
      );
    },
  );

  app.get(
    '/v1/exports/audit',
    {
      exposeHeadRoute: false,
      config: { access, errors: ['bad_window', 'unknown_advertiser', 'replica'] },
      schema: {
        ...{ tags: ['Exports'], operationId: 'exportAudit', summary: 'Export the audit log' },
        description:
          'A stream of changes, oldest first. The header `Tollway-Until` has the exclusive end: no change is recorded before it any more, so the next export begins there. A stream that breaks off is incomplete: export again.',
        querystring: z.strictObject({ ...filters, format: z.enum(AUDIT_FORMATS).default('ndjson') }),
        response: {
          200: {
            content: { 'application/x-ndjson': { schema: TextBody }, 'text/csv': { schema: TextBody } },
          },
        },
      },
    },
    async (request, reply) => {
      const { format, ...wanted } = request.query;
      const period = await boundAudit(pool, filterOf(request.caller, wanted));
      reply.type(MEDIA_TYPES[format]).header('tollway-until', period.until.toISOString());
      const body = textStream(async (write) => {
        await write(auditHeader(format));
        await exportAudit(pool, period, (entries) =>
          write(auditLines(format, visibleTo(request.caller, entries))),
        );
      }, logFailure(request));
      return reply.send(body);
    },
  );
}
