/** The command that runs a program of Tollway as `npm start` does. */
export const NODE: readonly string[] = [
  process.execPath,
  '--max-semi-space-size=16',
  '--disable-warning=TimeoutNegativeWarning',
];
