import pg from 'pg';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ROLES } from '../../ledger/access/api-keys.ts';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';
import { OWNER_SETTINGS, type Owner } from './owners.ts';
import { ROUTE_ACCESS } from './route-access.ts';
import { masked, maskedAnswer, routeCallers, sendRaw } from './route-callers.ts';

const database = testDatabase({ poolSize: 1 });
const api = testApi(database, OWNER_SETTINGS);
const callers = routeCallers(() => database.pool);

afterEach(() => vi.restoreAllMocks());

/**
 * Runs `work` and returns the texts of the statements that it sends to the database, in their order, without the look for the key: it is done
 * once a second, whatever the request is about.
 */
async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  const query = vi.spyOn(pg.Client.prototype, 'query');
  await work();
  const texts = query.mock.calls.flatMap(([statement]) => {
    const given = statement as unknown as string | { name?: string; text: string };
    if (typeof given === 'string') return given;
    return given.name === 'find-key' ? [] : given.text;
  });
  query.mockRestore();
  return texts;
}

/** Requests about an owner, for a route whose restricted keys may not see that owner. */
const cases = ROUTE_ACCESS.filter(({ restricted }) => restricted).flatMap(({ route, roles, requests }) =>
  ROLES.filter((role) => role !== 'admin' && roles.includes(role)).map((role) => ({ route, role, requests })),
);

/** Headers that lead to queries of their own. */
const HEADERS: readonly Record<string, string>[] = [
  {},
  { 'if-match': '"AAAAAAAAAAAAAAAA"' },
  { 'idempotency-key': 'the key of two requests' },
];

describe('A key of another advertiser gets, for an id that exists, the answer for one that does not, with the same queries', () => {
  it.each(cases)('$route as $role', async ({ route, role, requests }) => {
    const { own, missing } = callers;
    const key = callers.keyOf(role, 'another advertiser');
    const send = async (owner: Owner, index: number, headers: Record<string, string>) => {
      const request = requests(owner)[index] ?? { url: '' };
      const answer = await sendRaw(api, route, request, key, headers);
      return maskedAnswer(answer, owner);
    };
    // The first use of a key is recorded, with a query of its own.
    await send(missing, 0, {});
    await vi.waitFor(() => expect(database.pool.idleCount).toBe(database.pool.totalCount));
    for (const [index, request] of requests(own).entries()) {
      if (!masked(JSON.stringify(request), own).includes('<')) continue;
      for (const headers of HEADERS) {
        let [found, gone] = [
          { status: 0, headers: '', text: '' },
          { status: 0, headers: '', text: '' },
        ];
        const queries = await statementsOf(async () => {
          found = await send(own, index, headers);
        });
        const queriesOfMissing = await statementsOf(async () => {
          gone = await send(missing, index, headers);
        });
        expect(found, JSON.stringify({ request, headers })).toEqual(gone);
        expect(queries, JSON.stringify({ request, headers })).toEqual(queriesOfMissing);
      }
    }
  });
});

it('A restricted key gets no positions in spools, whose sequences count the clicks of all advertisers', async () => {
  const { clickId, link, nonce } = callers.own;
  const since = new Date(Date.now() - 86_400_000).toISOString();
  const urls = [
    `/v1/clicks/${clickId}`,
    `/v1/clicks/${nonce}`,
    `/v1/clicks/${link}`,
    `/v1/exports/clicks?since=${since}`,
  ];
  for (const url of urls) {
    const [all, one] = await Promise.all(
      (['all advertisers', 'the owner'] as const).map((scope) =>
        sendRaw(api, 'GET', { url }, callers.keyOf('viewer', scope)),
      ),
    );
    expect(all?.text, url).toMatch(/"sequence":1\b/);
    expect(one?.status, url).toBe(200);
    expect(one?.text, url).toContain(clickId);
    expect(one?.text, url).not.toMatch(/"(spoolId|sequence)":[^n]|spool [0-9a-f]/);
  }
});
