/** The fields of an object that have a value. */
export type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Returns an object without its fields that are `undefined`, for a function that tells absent fields from others. */
export function defined<T extends object>(object: T): Defined<T> {
  // The cast is safe: the fields that are left out are optional in the type.
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>;
}
