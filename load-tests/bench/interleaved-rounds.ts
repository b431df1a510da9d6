/**
 * Measures variants in interleaved rounds, in alternating order, so that drift affects all variants equally. `begin` prepares the round of a
 * number. Round 0 is not counted: it warms up code, connections and caches.
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
    // The loop has measured every variant.
    if (round > 0) measured.push(rates as Record<Variant, number>);
  }
  return measured;
}
