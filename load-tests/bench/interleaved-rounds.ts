/**
 * Measures ways by turns, forth and back, so that what drifts falls on all alike. `begin` prepares a round and is told
 * its number; one round more than counts is run: the first warms up code, connections and caches.
 */
export async function measureByTurns<Way extends string>(
  ways: readonly Way[],
  rounds: number,
  begin: (round: number) => Promise<(way: Way) => Promise<number>> | ((way: Way) => Promise<number>),
): Promise<Record<Way, number>[]> {
  const measured: Record<Way, number>[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const measure = await begin(round);
    const rates: Partial<Record<Way, number>> = {};
    for (const way of round % 2 === 0 ? ways : ways.toReversed()) rates[way] = await measure(way);
    // Every way has its rate by now.
    if (round > 0) measured.push(rates as Record<Way, number>);
  }
  return measured;
}
