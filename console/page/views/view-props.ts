/** What each view gets. */
export type ViewProps = {
  /** The rest of the path: `/advertisers/4` has `['4']`. */
  readonly segments: readonly string[];
};
