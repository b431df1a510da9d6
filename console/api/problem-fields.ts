import type { ErrorCode } from '../../common/error-codes.ts';
import type { TollwayError } from '../../common/errors.ts';

/** The values of a body that an error can be about, by its code. Several: those of different routes. */
const FIELDS: Partial<Record<ErrorCode, readonly string[]>> = {
  bad_amount: ['amount'],
  bad_currency: ['currency'],
  bad_duration: ['expiresIn'],
  bad_external_id: ['externalId'],
  bad_name: ['name'],
  bad_pacing: ['pacing'],
  bad_pass_list: ['passParameters'],
  bad_publisher: ['publisher'],
  bad_reference: ['reference'],
  bad_role: ['role'],
  bad_thresholds: ['lowBudgetPercents'],
  bad_time: ['expiresAt', 'startsAt', 'endsAt'],
  bad_time_zone: ['timeZone'],
  bad_url: ['url', 'urlTemplate', 'fallbackUrl'],
  bad_window: ['endsAt'],
  external_id_taken: ['externalId'],
  not_enough_budget: ['amount'],
  reference_taken: ['reference'],
  unknown_ad: ['adId'],
  unknown_advertiser: ['advertiserId', 'advertiserIds'],
  unknown_campaign: ['campaignId'],
  unknown_event_type: ['eventTypes'],
};

/**
 * The value of a request that an error of the ledger is about. `undefined` if it is about none, or if more than one value of the body can
 * be meant.
 */
export function fieldErrors(
  { code, field, message }: TollwayError,
  body: unknown,
): { pointer: string; detail: string }[] | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const candidates = field === undefined ? (FIELDS[code] ?? []) : [field];
  const [found, ...others] = candidates.filter((name) => Object.hasOwn(body, name));
  if (found === undefined || others.length > 0) return undefined;
  return [{ pointer: `/${found}`, detail: message }];
}
