/** Adopts all dead spools below its argument on a message, prints them, and holds them until the next message. */
import { once } from 'node:events';
import { adoptDeadSpools } from '../../../producer/dead-spools.ts';

// The test has ended.
process.once('disconnect', () => process.exit(1));
const [, , root = ''] = process.argv;
process.send?.('ready');
await once(process, 'message');
const adopted = await Array.fromAsync(adoptDeadSpools(root));
process.send?.(adopted.map(({ spoolId, accepted }) => ({ spoolId, accepted })));
await once(process, 'message');
for (const { release } of adopted) release();
process.exit(0);
