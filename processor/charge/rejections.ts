import type { Connection } from '../../common/postgres/postgres.ts';
import { identityOf, type Rejection } from '../../ledger/charge/dead-letters.ts';
import { readSettledSequences } from '../../ledger/spools/counters.ts';

/** Keeps one of several rejected records with the same key, because the key's sequence settles once. */
export function onePerIdentity(rejections: readonly Rejection[]): Rejection[] {
  return [...new Map(rejections.map((rejection) => [identityOf(rejection.record), rejection])).values()];
}

/**
 * Leaves out the rejected records whose sequence is already settled: clicks of a day that the ledger has dropped, and bytes that are no
 * click under the key of one. They are copies, intact or damaged, of records in the ledger. `settledNow` returns the identities that
 * this transaction settles.
 */
export async function withoutSettled(
  connection: Connection,
  rejections: readonly Rejection[],
  settledNow: () => ReadonlySet<string>,
): Promise<readonly Rejection[]> {
  if (rejections.length === 0) return [];
  const isSettled = await readSettledSequences(
    connection,
    rejections.flatMap(({ record }) => record.from ?? []),
  );
  const identities = settledNow();
  return rejections.filter(
    ({ record }) => record.from === null || !(isSettled(record.from) || identities.has(identityOf(record))),
  );
}
