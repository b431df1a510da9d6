/**
 * Measures variants by turns, forth and back, so that what drifts falls on all alike. `begin` prepares a round and is told
 * its number; one round more than counts is run: the first warms up code, connections and caches.
 */
export async function measureInterleaved<Variant extends string>(
  variants: readonly Variant[],
  rounds: number,
  begin: (
    round: number,
  ) => Promise<(variant: Variant) => Promise<number>> | ((variant: Variant) => Promise<number>),
): Promise<Record<Variant, number>[]> {
  const measured: Record<Variant, number>[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const measure = await begin(round);
    const rates: Partial<Record<Variant, number>> = {};
    for (const variant of round % 2 === 0 ? variants : variants.toReversed())
      rates[variant] = await measure(variant);
    // Every variant has its rate by now.
    if (round > 0) measured.push(rates as Record<Variant, number>);
  }
  return measured;
}
