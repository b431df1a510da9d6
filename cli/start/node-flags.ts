/** The flags of Node with which every part runs, here and in deploy/, the Dockerfile and docs/running.md. */
export const NODE_FLAGS: readonly string[] = [
  // V8's young generation takes at most 16 MB. Without the flag it takes more memory than everything else.
  '--max-semi-space-size=16',
  // V8 collects garbage on the thread that makes it. Otherwise it spreads each collection over four threads and waits for all of them: where
  // every core is busy, the last one gets its turn late, and the requests of that time wait. docs/performance.md has what that costs.
  '--single-threaded-gc',
  // kafkajs sets timers into the past, which Node warns of once: tulios/kafkajs#1751.
  '--disable-warning=TimeoutNegativeWarning',
];
