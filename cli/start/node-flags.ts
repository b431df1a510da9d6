/** The flags of Node with which every part runs, here and in deploy/, the Dockerfile and docs/running.md. */
export const NODE_FLAGS: readonly string[] = [
  // V8's young generation takes at most 16 MB. Without the flag it takes more memory than everything else.
  '--max-semi-space-size=16',
  // kafkajs sets timers into the past, which Node warns of once: tulios/kafkajs#1751.
  '--disable-warning=TimeoutNegativeWarning',
];

/**
 * For the parts that somebody waits for. V8 otherwise spreads the collection of garbage over four threads and waits for the last of them. Where
 * every core is busy that one gets its turn late, and all requests of that time wait. A processor charges more with the threads.
 */
const ANSWERING = { flag: '--single-threaded-gc', parts: /^(ad-server|console)\// };

/** The flags of a part. `script` is its entry file, as a path from the root of the repository. */
export function nodeFlagsOf(script: string): readonly string[] {
  return ANSWERING.parts.test(script) ? [ANSWERING.flag, ...NODE_FLAGS] : NODE_FLAGS;
}
