/** Adopts all dead spools below its argument when it is told to, prints what it got, and holds it until it is told to end. */
import { once } from 'node:events';
import { adoptDeadSpools } from '../../../producer/dead-spools.ts';

// Its parent is gone.
process.once('disconnect', () => process.exit(1));
const [, , root = ''] = process.argv;
process.send?.('ready');
await once(process, 'message');
const adopted = await Array.fromAsync(adoptDeadSpools(root));
process.send?.(adopted.map(({ spoolId, accepted }) => ({ spoolId, accepted })));
await once(process, 'message');
for (const { release } of adopted) release();
process.exit(0);
