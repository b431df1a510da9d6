import { Option } from 'commander';
import { parseExpiry } from '../../common/parse-time.ts';
import { parseName } from '../../common/text.ts';
import {
  type ApiKey,
  createKey,
  listKeys,
  ROLES,
  type Role,
  revokeKey,
} from '../../ledger/access/api-keys.ts';
import { type Names, readNames } from '../../ledger/names.ts';
import { command, group, type Output, rowsCommand, withChange, withDatabase } from '../context.ts';
import { parseId } from '../parse.ts';
import { printJson, printLine, printNote, printRow } from '../print.ts';
import { beyondId, printPages } from '../print-pages.ts';
import { withName } from '../with-name.ts';

type CreateOptions = Output & { role: Role; advertiser?: number[]; name?: string; expires?: Date };

/** Advertisers of a key that are named for a person; JSON and CSV have the ids of all. */
const NAMED_MAX = 5;

const textOf = (time: Date | null) => time?.toISOString() ?? null;

function toJson({ id, name, role, advertiserIds, status, ...times }: ApiKey) {
  const { createdAt, expiresAt, lastUsedAt, revokedAt } = times;
  return {
    id,
    name,
    role,
    advertiserIds,
    status,
    createdAt: textOf(createdAt),
    expiresAt: textOf(expiresAt),
    lastUsedAt: textOf(lastUsedAt),
    revokedAt: textOf(revokedAt),
  };
}

/** A row of a table or of CSV. */
function toRow(key: ApiKey) {
  const { id, name, role, advertiserIds, ...rest } = toJson(key);
  return { id, name, role, advertisers: advertiserIds?.join(' ') ?? 'all', ...rest };
}

/** A row for a person: with the names of the advertisers. */
function toTableRow(key: ApiKey, names: Names) {
  return { ...toRow(key), advertisers: key.advertiserIds ? namesOf(key.advertiserIds, names) : 'all' };
}

function namesOf(ids: readonly number[], { advertisers }: Names): string {
  const named = ids.slice(0, NAMED_MAX).map((id) => withName(id, advertisers.get(id)));
  const more = ids.length > NAMED_MAX ? ` and ${ids.length - NAMED_MAX} more` : '';
  return `${named.join(', ')}${more}`;
}

function describe({ id, name, role, advertiserIds, expiresAt }: ApiKey, names: Names): string {
  const advertisers = advertiserIds ? `advertiser ${namesOf(advertiserIds, names)}` : 'all advertisers';
  const end = expiresAt ? `until ${textOf(expiresAt)}` : 'without an expiry';
  return `Created key ${id}, "${name}": ${role}, ${advertisers}, ${end}. The key is not stored, so it cannot be shown again`;
}

const create = command('create', 'Create a key of the HTTP API and print it', [
  'key create --role manager --name "campaign system"',
  'key create --role viewer --advertiser 1 --expires 90d --json',
])
  .addOption(
    new Option('--role <role>', `what the key may do: ${ROLES.join(', ')}`)
      .choices(ROLES)
      .makeOptionMandatory(),
  )
  .option('--advertiser <id...>', 'restrict the key to these advertisers', collectId)
  .option('--name <name>', 'name of the key, 1–200 characters; without it, the role', parseName)
  .option(
    '--expires <time>',
    'when the key expires: a length of time from now such as 90d, or a time',
    parseExpiry,
  )
  .action(async ({ role, advertiser, name = role, expires, format }: CreateOptions) => {
    const terms = { name, role, advertiserIds: advertiser ?? null, expiresAt: expires ?? null };
    const { key, names, ...made } = await withChange(
      async (connection) => ({
        ...(await createKey(connection, terms)),
        names: await readNames(connection, terms.advertiserIds ?? [], [], []),
      }),
      '`npx tollway key list` shows the key if it was made. Revoke it then, because it was not printed, and create another',
    );
    if (format === 'json') return printJson({ key, ...toJson(made) });
    printNote(describe(made, names));
    printLine(key);
  });

function collectId(text: string, before: readonly number[] = []): number[] {
  return [...before, parseId(text)];
}

const list = rowsCommand('list', 'List the keys of the HTTP API, also expired and revoked ones', [
  'key list',
  'key list --json',
]).action(async (output: Output) => {
  await withDatabase((pool) =>
    printPages(
      {
        read: beyondId<ApiKey>((page) => listKeys(pool, page)),
        toRows: async (keys) => {
          if (output.format === 'csv') return keys.map(toRow);
          const ids = keys.flatMap(({ advertiserIds }) => advertiserIds ?? []);
          const names = await readNames(pool, ids, [], []);
          return keys.map((key) => toTableRow(key, names));
        },
        toJson,
        empty: 'There are no keys: npx tollway key create --role admin',
      },
      output,
    ),
  );
});

const revoke = rowsCommand('revoke', 'Revoke a key of the HTTP API for good', ['key revoke 1'])
  .argument('<id>', 'id of the key', parseId)
  .action(async (id: number, output: Output) => {
    const revoked = await withChange((connection) => revokeKey(connection, id));
    if (output.format === 'json') return printJson(toJson(revoked));
    printRow(toRow(revoked), output);
  });

export const key = group('key', 'Manage the keys of the HTTP API', [create, list, revoke]);
