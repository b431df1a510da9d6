/** Adopts every dead spool below its argument, repeatedly, and never releases one. */
import { adoptDeadSpools } from '../../../producer/dead-spools.ts';

// The test has ended.
process.once('disconnect', () => process.exit(1));
const [, , root = ''] = process.argv;
const held: unknown[] = [];
process.send?.('ready');
for (;;) held.push(...(await Array.fromAsync(adoptDeadSpools(root))));
