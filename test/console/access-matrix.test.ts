import { describe, expect, it } from 'vitest';
import { PAGE_PATHS } from '../../console/serve-page.ts';
import { ROLES } from '../../ledger/access/api-keys.ts';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';
import { OWNER_SETTINGS } from './owners.ts';
import { ROUTE_ACCESS } from './route-access.ts';
import { masked, maskedAnswer, type RawAnswer, routeCallers, type Scope, sendRaw } from './route-callers.ts';

const database = testDatabase();
const api = testApi(database, OWNER_SETTINGS);
const callers = routeCallers(() => database.pool);

const SCOPES: readonly Scope[] = ['all advertisers', 'the owner', 'another advertiser'];
const combinations = ROLES.flatMap((role) =>
  SCOPES.filter((scope) => role !== 'admin' || scope === 'all advertisers').map((scope) => ({ role, scope })),
);

/** Routes that answer without a key. */
const PUBLIC = [
  ...['GET /v1/openapi.json', 'GET /reference', 'GET /reference/', 'GET /reference/js/scalar.js'],
  'POST /v1/session',
  ...['/', '/assets/:name', ...PAGE_PATHS.flatMap((path) => [path, `${path}/*`])].map(
    (path) => `GET ${path}`,
  ),
];

it('Every route of the API has an expectation, and every expectation has a route', () => {
  const expected = [...ROUTE_ACCESS.map(({ route }) => route), ...PUBLIC];
  expect(api.routes().sort()).toEqual(expected.sort());
});

/** What the browser adds to the requests of a page of the console. */
const OWN_PAGE = { 'sec-fetch-site': 'same-origin' };

const isRefused = ({ status, text }: RawAnswer) => status === 403 && JSON.parse(text).code === 'forbidden';

/** The status of an answer; `done` for every success, because the repetition of some requests has another one. */
const resultOf = ({ status }: RawAnswer) => (status < 300 ? 'done' : status);

describe.each(ROUTE_ACCESS)('$route', ({ route, roles, restricted, requests, failsWith }) => {
  it('without a valid key is refused', async () => {
    for (const key of ['', 'tollway_1_', `tollway_1_${'A'.repeat(43)}`])
      for (const request of requests(callers.own))
        expect(await sendRaw(api, route, request, key)).toMatchObject({
          status: 401,
          headers: expect.stringContaining('["www-authenticate","Bearer'),
          text: expect.stringContaining('"code":"unauthenticated"'),
        });
  });

  it('without a session that has not ended is refused', async () => {
    for (const cookie of ['tollway_session_8083=', `tollway_session_8083=${'A'.repeat(43)}`])
      for (const request of requests(callers.own))
        expect(await sendRaw(api, route, request, null, { cookie, ...OWN_PAGE })).toMatchObject({
          status: 401,
          text: expect.stringContaining('"code":"unauthenticated"'),
        });
  });

  it.each(combinations)(
    'for a session of a key with the role $role of $scope, as for the key',
    async ({ role, scope }) => {
      const cookie = await callers.sessionOf(role, scope);
      for (const [index, request] of requests(callers.own).entries()) {
        const bySession = await sendRaw(api, route, request, null, { cookie, ...OWN_PAGE });
        const again = requests(callers.own)[index] ?? request;
        const byKey = await sendRaw(api, route, again, callers.keyOf(role, scope));
        const shown = `${JSON.stringify(request)} → ${bySession.text.slice(0, 300)}`;
        expect(resultOf(bySession), shown).toBe(resultOf(byKey));
      }
    },
  );

  it.each(combinations)('for a key with the role $role of $scope', async ({ role, scope }) => {
    const { own, other, missing } = callers;
    const key = callers.keyOf(role, scope);
    const count = requests(own).length;
    for (let index = 0; index < count; index += 1) {
      const about = (owner: typeof own) => requests(owner)[index] ?? { url: '' };
      const request = about(own);
      const answer = await sendRaw(api, route, request, key);
      const shown = `${JSON.stringify(request)} → ${answer.status} ${answer.text.slice(0, 300)}`;
      if (!roles.includes(role) || (scope !== 'all advertisers' && !restricted)) {
        expect(isRefused(answer), shown).toBe(true);
        continue;
      }
      const isAboutOwner = masked(JSON.stringify(request), own).includes('<');
      if (scope !== 'another advertiser' || !isAboutOwner) {
        if (failsWith) expect(JSON.parse(answer.text).code, shown).toBe(failsWith);
        else expect(answer.status, shown).toBeLessThan(300);
      } else {
        const gone = await sendRaw(api, route, about(missing), key);
        expect(gone.status, shown).toBeGreaterThanOrEqual(400);
        expect(maskedAnswer(answer, own)).toEqual(maskedAnswer(gone, missing));
      }
      const hidden = scope === 'another advertiser' ? own : scope === 'the owner' ? other : null;
      for (const secret of hidden?.secrets ?? [])
        expect(answer.headers + answer.text, shown).not.toContain(secret);
    }
  });
});
