/** A file that is being written. It has its name only after `commit`. */
export type TargetFile = {
  /** Resolves when the next bytes can be written. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** Stores the file under its name, in place of an earlier one. When it resolves, the file survives a loss of power. */
  readonly commit: () => Promise<void>;
  /** Deletes what was written, as far as possible. */
  readonly discard: () => Promise<void>;
};

/** Where the files of an export are written: a folder or a prefix of a bucket. All functions throw `target_failed`. */
export type ExportTarget = {
  /** The names of the finished files that end with `suffix`, in ascending order. */
  readonly list: (suffix: string) => Promise<string[]>;
  readonly read: (name: string) => Promise<string>;
  readonly create: (name: string) => Promise<TargetFile>;
  /** Throws `already_running` unless this export still has the target for itself. */
  readonly assertLocked: () => Promise<void>;
  readonly close: () => Promise<void>;
};
