/**
 * Measures variants in interleaved rounds, in alternating order, so that drift affects all variants equally. `begin` prepares the round of a
 * number. Round 0 is not counted: it warms up code, connections and caches.
 */
export async function measureInterleaved<Variant extends string, Value = number>(
  variants: readonly Variant[],
  rounds: number,
  begin: (
    round: number,
  ) => Promise<(variant: Variant) => Promise<Value>> | ((variant: Variant) => Promise<Value>),
): Promise<Record<Variant, Value>[]> {
  const measured: Record<Variant, Value>[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const measure = await begin(round);
    const values: Partial<Record<Variant, Value>> = {};
    for (const variant of round % 2 === 0 ? variants : variants.toReversed())
      values[variant] = await measure(variant);
    // The loop has measured every variant.
    if (round > 0) measured.push(values as Record<Variant, Value>);
  }
  return measured;
}
