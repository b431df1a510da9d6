/** The fields of `after` whose values differ from `before`: what the user has not changed is not sent, so it is not changed back. */
export function changesOf<T extends object>(before: T, after: T): Partial<T> {
  const changed = Object.entries(after).filter(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name as keyof T]),
  );
  // The entries are those of `after`.
  return Object.fromEntries(changed) as Partial<T>;
}
