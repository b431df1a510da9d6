/** Appends clicks to a spool in the folder of its argument until it is killed, and prints the sequence of each accepted one. */
import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { Spool } from '../../../producer/spool.ts';

// The test has ended.
process.once('disconnect', () => process.exit(1));
const [, , root = '', segmentBytes = '65536'] = process.argv;
const options = {
  root,
  bytesMax: 1e9,
  segmentBytes: Number(segmentBytes),
  sync: 'os',
  syncIntervalMs: 100,
} as const;
const spool = new Spool(options, pino({ level: 'silent' }));
writeSync(1, `${spool.spoolId}\n`);

let number = 0;
function turn(): void {
  for (let count = 0; count < 1 + (number % 5); count += 1) {
    number += 1;
    const click = `${number} `.padEnd(300 + ((number * 37) % 900), 'x');
    spool.append(click, (sequence) => sequence !== null && writeSync(1, `${sequence}\n`));
  }
  setImmediate(turn);
}
turn();
