/** The flags of Node with which every part runs, here and in deploy/, the Dockerfile and docs/running.md. */
export const NODE_FLAGS: readonly string[] = [
  // V8's young generation takes at most 16 MB. Without the flag it takes more memory than everything else.
  '--max-semi-space-size=16',
];

/**
 * The ad server and the console answer requests. V8 otherwise spreads each collection of garbage over four threads and waits for the last one,
 * which gets its turn late where every core is busy; all requests wait meanwhile. A processor charges more clicks/s with these threads.
 */
const ANSWERS_REQUESTS = /^(ad-server|console)\//;
const ONE_THREAD = '--single-threaded-gc';

/** The flags of a part. `script` is its entry file, as a path from the root of the repository. */
export function nodeFlagsOf(script: string): readonly string[] {
  return ANSWERS_REQUESTS.test(script) ? [ONE_THREAD, ...NODE_FLAGS] : NODE_FLAGS;
}
