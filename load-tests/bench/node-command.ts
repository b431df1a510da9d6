import { NODE_FLAGS } from '../../cli/start/node-flags.ts';

/** The command that runs a program of Tollway as `npm start` does a processor. */
export const NODE: readonly string[] = [process.execPath, ...NODE_FLAGS];
