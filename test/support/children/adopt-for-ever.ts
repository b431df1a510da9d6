/** Adopts whatever it finds below its argument, again and again, and never lets go of it. */
import { adoptDeadSpools } from '../../../producer/dead-spools.ts';

// Its parent is gone.
process.once('disconnect', () => process.exit(1));
const [, , root = ''] = process.argv;
const held: unknown[] = [];
process.send?.('ready');
for (;;) held.push(...(await Array.fromAsync(adoptDeadSpools(root))));
