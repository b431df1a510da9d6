import { TollwayError } from '../common/errors.ts';

/** Throws `bad_window` for a period whose end is before its beginning; without one of the two there is nothing to check. */
export function assertPeriod({ since, until }: { readonly since?: Date; readonly until?: Date }): void {
  if (since === undefined || until === undefined || until >= since) return;
  throw new TollwayError(
    'bad_window',
    `Expected an end (until) after the beginning (since), got ${until.toISOString()} before ${since.toISOString()}`,
  );
}
