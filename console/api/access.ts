import type { RouteOptions } from 'fastify';
import { TollwayError } from '../../common/errors.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import { unknownAdvertiser } from '../../ledger/advertiser-lock.ts';

/** Whose request it is: what the API key allows. */
export type Caller = {
  readonly keyId: number;
  readonly name: string;
  readonly role: Role;
  /** The caller sees these advertisers only; `null`: all, and what belongs to no advertiser. */
  readonly advertiserIds: readonly number[] | null;
};

/** Which keys may use a route. */
type Rule = {
  readonly roles: readonly Role[];
  /** Whether keys that are restricted to advertisers may use it. The route then hides everything of other advertisers. */
  readonly restricted: boolean;
};

const ALL: readonly Role[] = ['admin', 'manager', 'finance', 'viewer'];
const MANAGERS: readonly Role[] = ['admin', 'manager'];
const FINANCE: readonly Role[] = ['admin', 'finance'];
const ADMINS: readonly Role[] = ['admin'];

/** The rules of the HTTP API. docs/running.md lists them, and each route names one in `config.access`. */
export const ACCESS_RULES = {
  'advertisers.read': { roles: ALL, restricted: true },
  'advertisers.create': { roles: ADMINS, restricted: false },
  'advertisers.update': { roles: ADMINS, restricted: false },
  'budgets.read': { roles: ALL, restricted: true },
  'budgets.write': { roles: FINANCE, restricted: true },
  'statements.read': { roles: ALL, restricted: true },
  'campaigns.read': { roles: ALL, restricted: true },
  'campaigns.write': { roles: MANAGERS, restricted: true },
  'ads.read': { roles: ALL, restricted: true },
  'ads.write': { roles: MANAGERS, restricted: true },
  'links.create': { roles: MANAGERS, restricted: true },
  'reports.read': { roles: ALL, restricted: true },
  'clicks.read': { roles: ALL, restricted: true },
  'clicks.credit': { roles: FINANCE, restricted: true },
  'webhooks.manage': { roles: MANAGERS, restricted: true },
  'audit.read': { roles: ALL, restricted: true },
  'events.read': { roles: ALL, restricted: true },
  'dead-letters.read': { roles: ALL, restricted: false },
  'dead-letters.write': { roles: ADMINS, restricted: false },
  'reconciliation.read': { roles: ALL, restricted: false },
  'status.read': { roles: ALL, restricted: false },
  'samples.run': { roles: MANAGERS, restricted: false },
  'keys.manage': { roles: ADMINS, restricted: false },
  'session.use': { roles: ALL, restricted: true },
} as const satisfies Record<string, Rule>;

/** The rule of a route. `public` routes answer without a key. */
export type Access = keyof typeof ACCESS_RULES | 'public';

/** Throws an `Error` for a route without a rule. An `onRoute` hook of the app, so that the process does not start with such a route. */
export function assertRule({ method, url, config }: RouteOptions): void {
  const access: string | undefined = config?.access;
  if (access === 'public' || (access !== undefined && Object.hasOwn(ACCESS_RULES, access))) return;
  throw new Error(`Expected a rule of ACCESS_RULES in config.access of ${method} ${url}, got ${access}`);
}

/** The names of the rules that allow the caller something. */
export function allowedRules({ role, advertiserIds }: Caller): (keyof typeof ACCESS_RULES)[] {
  const rules = Object.entries(ACCESS_RULES) as [keyof typeof ACCESS_RULES, Rule][];
  return rules
    .filter(([, { roles, restricted }]) => roles.includes(role) && (restricted || advertiserIds === null))
    .map(([name]) => name);
}

/** Throws `forbidden` if the rule does not allow the caller. */
export function assertAllowed({ role, advertiserIds }: Caller, access: keyof typeof ACCESS_RULES): void {
  const { roles, restricted }: Rule = ACCESS_RULES[access];
  if (!roles.includes(role))
    throw new TollwayError(
      'forbidden',
      `Expected a key with the role ${roles.join(' or ')}, got one with the role ${role}`,
    );
  if (advertiserIds && !restricted)
    throw new TollwayError(
      'forbidden',
      'Expected a key for all advertisers, got one that is restricted to some',
    );
}

/**
 * Throws `notFound()` if the caller may not see what belongs to this advertiser (`null`: to no advertiser). `notFound` makes the error of
 * something that does not exist, so that both look the same. Call it after the query that finds the thing, with the same queries before it in
 * both cases, so that they also take the same time.
 */
export function assertVisible(
  { advertiserIds }: Caller,
  advertiserId: number | null,
  notFound: () => Error,
): void {
  if (advertiserIds === null) return;
  if (advertiserId === null || !advertiserIds.includes(advertiserId)) throw notFound();
}

/**
 * Throws `unknown_advertiser`, as for an id that does not exist, if the caller is restricted to other advertisers. Call it before any query:
 * whether the advertiser exists then makes no difference.
 */
export function assertAdvertiser(caller: Caller, advertiserId: number): void {
  assertVisible(caller, advertiserId, () => unknownAdvertiser(advertiserId));
}
