/** Acquires the lock of its argument, reports whether it has it, and holds it until it is killed. */
import { lockFile } from '../../../common/file-lock.ts';

// The test has ended.
process.once('disconnect', () => process.exit(1));
const [, , path = ''] = process.argv;
process.send?.(lockFile(path) === null ? 'refused' : 'taken');
process.on('message', () => {
  for (let round = 0; round < 5; round += 1) globalThis.gc?.();
  process.send?.('collected');
});
