import { useState } from 'preact/hooks';

type Draft<T> = readonly [values: T, set: (changes: Partial<T>) => void];

/** The values of a form: those that were entered, and for the other fields those of `values`, also when these change. */
export function useDraft<T extends object>(values: T): Draft<T> {
  const [entered, setEntered] = useState<Partial<T>>({});
  return [
    { ...values, ...entered },
    (changes: Partial<T>) => setEntered((before) => ({ ...before, ...changes })),
  ];
}
