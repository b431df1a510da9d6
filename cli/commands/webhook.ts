import { Option } from 'commander';
import { TollwayError } from '../../common/errors.ts';
import { parseTime } from '../../common/parse-time.ts';
import { readAdvertiser } from '../../ledger/accounts/advertisers.ts';
import type { Status } from '../../ledger/status.ts';
import {
  type Attempt,
  DELIVERY_STATUSES,
  type Delivery,
  type DeliveryStatus,
  listAttempts,
  listDeliveries,
  replayDelivery,
  replayFailed,
} from '../../ledger/webhooks/deliveries.ts';
import type { TargetRule } from '../../ledger/webhooks/target-url.ts';
import {
  addWebhook,
  listWebhooks,
  rotateSecret,
  sendTestEvent,
  updateWebhook,
  type Webhook,
  type WebhookChanges,
} from '../../ledger/webhooks/webhooks.ts';
import {
  type CliContext,
  command,
  group,
  type Output,
  rowsCommand,
  withChange,
  withDatabase,
} from '../context.ts';
import { emptyText, withAdvertiserOption, withStatusOptions } from '../list-options.ts';
import { parseCount, parseId } from '../parse.ts';
import { printJson, printLine, printNote, printRow, printRows } from '../print.ts';
import { beyondId, printPages } from '../print-pages.ts';

type AddOptions = Output & { events?: string[]; advertiser?: number };
type ListOptions = Output & { advertiser?: number; status?: Status; all?: boolean };
type DeliveriesOptions = Output & { status?: DeliveryStatus; limit: number };

const textOf = (time: Date | null) => time?.toISOString() ?? null;

function toJson({ id, url, eventTypes, advertiserId, advertiserName, status, ...times }: Webhook) {
  const { failingSince, retryAt, previousSecretUntil, createdAt } = times;
  return {
    ...{ id, url, eventTypes, advertiserId, advertiserName, status },
    failingSince: textOf(failingSince),
    retryAt: textOf(retryAt),
    previousSecretUntil: textOf(previousSecretUntil),
    createdAt: textOf(createdAt),
  };
}

/** A row of a table or of CSV. */
function toRow(webhook: Webhook) {
  const { id, url, eventTypes, ...rest } = toJson(webhook);
  return { id, url, events: eventTypes.join(' ') || 'all', ...rest };
}

function print(webhook: Webhook, output: Output): void {
  if (output.format === 'json') printJson(toJson(webhook));
  else printRow(toRow(webhook), output);
}

/** The secret alone goes to standard output, so that a script can keep it. */
function printSecret(
  { webhook, secret }: { webhook: Webhook; secret: string },
  note: string,
  { format }: Output,
) {
  if (format === 'json') return printJson({ ...toJson(webhook), secret });
  printNote(note);
  printLine(secret);
}

function ruleOf({ config }: CliContext): TargetRule {
  return config.WEBHOOK_PRIVATE_TARGETS === 'on' ? 'private' : 'public';
}

/** Reads types separated by commas; `all` stands for all. The ledger knows which there are. */
function parseEvents(text: string): string[] {
  return text === 'all' ? [] : text.split(',').map((type) => type.trim());
}

function parseEventId(text: string): bigint {
  const [, id] = /^(?:evt_)?([1-9]\d{0,17})$/.exec(text) ?? [];
  if (id === undefined) throw new TollwayError('bad_id', `Expected the id of an event, got "${text}"`);
  return BigInt(id);
}

const EVENTS = 'types of events, separated by commas; `all` for all';

const add = command(
  'add',
  'Add a webhook and print its secret, with which its receiver verifies the events',
  [
    'webhook add https://example.com/tollway',
    'webhook add https://example.com/tollway --events budget.low,budget.exhausted --advertiser 1',
  ],
)
  .argument('<url>', 'https URL of the receiver')
  .addOption(new Option('--events <types>', EVENTS).argParser(parseEvents).default([], 'all'))
  .option('--advertiser <id>', 'only events of this advertiser', parseId)
  .action(async (url: string, { events: eventTypes = [], advertiser, format }: AddOptions) => {
    const settings = { url, eventTypes, advertiserId: advertiser ?? null };
    const added = await withChange((connection, context) =>
      addWebhook(connection, settings, ruleOf(context)),
    );
    printSecret(added, `Added webhook ${added.webhook.id}. Its secret cannot be shown again`, { format });
  });

const list = withStatusOptions(
  withAdvertiserOption(
    rowsCommand('list', 'List webhooks and whether their targets answer', ['webhook list']),
  ),
  'also archived ones',
).action(async (options: ListOptions) => {
  const { advertiser, status, all = false } = options;
  const filter = {
    ...(advertiser === undefined ? {} : { advertiserIds: [advertiser] }),
    ...(status === undefined ? {} : { status }),
    all,
  };
  await withDatabase(async (pool) => {
    if (advertiser !== undefined) await readAdvertiser(pool, advertiser);
    const first = 'There are no webhooks: npx tollway webhook add https://example.com/tollway';
    await printPages(
      {
        read: beyondId<Webhook>((page) => listWebhooks(pool, { ...filter, ...page })),
        toRows: (webhooks) => webhooks.map(toRow),
        toJson,
        empty: emptyText(options, first),
      },
      options,
    );
  });
});

async function change(id: number, changes: WebhookChanges, output: Output): Promise<void> {
  print(
    await withChange((connection, context) => updateWebhook(connection, id, changes, ruleOf(context))),
    output,
  );
}

const update = rowsCommand('update', 'Change the URL or the events of a webhook', [
  'webhook update 1 --url https://example.com/new',
  'webhook update 1 --events all',
])
  .argument('<webhook>', 'id of the webhook', parseId)
  .option('--url <url>', 'new URL; what waits is sent there at once')
  .option('--events <types>', EVENTS, parseEvents)
  .action(async (id: number, { url, events, format }: Output & { url?: string; events?: string[] }) => {
    if (url === undefined && events === undefined)
      throw new TollwayError('bad_options', 'Expected --url or --events, got neither');
    const changes = {
      ...(url === undefined ? {} : { url }),
      ...(events === undefined ? {} : { eventTypes: events }),
    };
    await change(id, changes, { format });
  });

function statusCommand(name: string, status: Status, description: string) {
  return rowsCommand(name, description, [`webhook ${name} 1`])
    .argument('<webhook>', 'id of the webhook', parseId)
    .action((id: number, output: Output) => change(id, { status }, output));
}

const rotate = command('rotate-secret', 'Give a webhook a new secret and print it', [
  'webhook rotate-secret 1',
])
  .argument('<webhook>', 'id of the webhook', parseId)
  .action(async (id: number, output: Output) => {
    const rotated = await withChange((connection) => rotateSecret(connection, id));
    const until = textOf(rotated.webhook.previousSecretUntil);
    printSecret(rotated, `Both secrets sign until ${until}. The new one cannot be shown again`, output);
  });

const test = command('test', 'Send an event of the type webhook.test to a webhook', ['webhook test 1'])
  .argument('<webhook>', 'id of the webhook', parseId)
  .action(async (id: number, { format }: Output) => {
    const eventId = String(await withChange((connection) => sendTestEvent(connection, id)));
    if (format === 'json') return printJson({ webhookId: id, eventId });
    printLine(`Queued event ${eventId}. See what came of it: npx tollway webhook attempts ${id} ${eventId}`);
  });

function toDeliveryRow({ eventId, status, attempts, ...event }: Delivery) {
  const { eventType, advertiserId, advertiserName, data, ...times } = event;
  const campaignId = typeof data.campaignId === 'number' ? data.campaignId : null;
  const campaignName = typeof data.campaignName === 'string' ? data.campaignName : null;
  const { occurredAt, nextAttemptAt, finishedAt } = times;
  return {
    ...{ eventId: String(eventId), eventType, advertiserId, advertiserName, campaignId, campaignName },
    ...{ status, attempts },
    occurredAt: textOf(occurredAt),
    nextAttemptAt: textOf(nextAttemptAt),
    finishedAt: textOf(finishedAt),
  };
}

const deliveries = rowsCommand('deliveries', 'List the events that were queued for a webhook, newest first', [
  'webhook deliveries 1 --status failed',
])
  .argument('<webhook>', 'id of the webhook', parseId)
  .addOption(
    new Option('--status <status>', `only those with this status: ${DELIVERY_STATUSES.join(', ')}`).choices(
      DELIVERY_STATUSES,
    ),
  )
  .option('--limit <n>', 'number of rows at most', parseCount, 100)
  .action(async (id: number, options: DeliveriesOptions) => {
    const { status } = options;
    await withDatabase((pool) =>
      printPages(
        {
          read: beyondId<Delivery & { id: bigint }>(async ({ limit, after = 0n }) => {
            const found = await listDeliveries(pool, id, { status, limit, before: after });
            return found.map((delivery) => ({ ...delivery, id: delivery.eventId }));
          }),
          toRows: (events) => events.map(toDeliveryRow),
          empty: 'No events.',
        },
        options,
      ),
    );
  });

function toAttemptRow({ at, durationMs, statusCode, error }: Attempt) {
  return { at: at.toISOString(), durationMs, statusCode, error };
}

const attempts = rowsCommand('attempts', 'List the attempts to send an event to a webhook, oldest first', [
  'webhook attempts 1 42',
])
  .argument('<webhook>', 'id of the webhook', parseId)
  .argument('<event>', 'id of the event', parseEventId)
  .action(async (id: number, eventId: bigint, output: Output) => {
    await withDatabase(async (pool) => {
      const rows = (await listAttempts(pool, id, eventId)).map(toAttemptRow);
      printRows(rows, output, 'No attempt was made yet.');
    });
  });

const replay = command('replay', 'Send an event, or all events that were given up, to a webhook again', [
  'webhook replay 1 42',
  'webhook replay 1 --failed-since 2d',
])
  .argument('<webhook>', 'id of the webhook', parseId)
  .argument('[event]', 'id of the event', parseEventId)
  .option('--failed-since <time>', 'all events that were given up since then', parseTime)
  .action(async (id: number, eventId: bigint | undefined, options: Output & { failedSince?: Date }) => {
    const { failedSince: since, format } = options;
    if ((eventId === undefined) === (since === undefined))
      throw new TollwayError(
        'bad_options',
        `Expected the id of an event or --failed-since, got ${since === undefined ? 'neither' : 'both'}`,
      );
    const queued = await withChange(async (connection) => {
      if (since !== undefined) return replayFailed(connection, id, since);
      await replayDelivery(connection, id, eventId ?? 0n);
      return 1;
    });
    if (format === 'json') return printJson({ webhookId: id, queued });
    printLine(`Queued ${queued} again.`);
  });

export const webhook = group('webhook', 'Manage webhooks, which tell other systems about events', [
  add,
  list,
  update,
  statusCommand(
    'pause',
    'paused',
    'Pause a webhook: it gets no new events, and what waits is kept for 30 days and sent after resume',
  ),
  statusCommand('resume', 'active', 'Resume a paused or archived webhook'),
  statusCommand('archive', 'archived', 'Archive a webhook: what waits is given up, and lists leave it out'),
  rotate,
  test,
  deliveries,
  attempts,
  replay,
]);
