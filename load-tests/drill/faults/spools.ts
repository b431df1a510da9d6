import { appendFileSync, closeSync, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '../../../common/process.ts';
import { listSegments } from '../../../producer/spool-format.ts';
import type { Drill } from '../drill.ts';
import { suspend } from './parts.ts';

const CLICKS = 60;
/** Bytes from the end of the spool, among clicks that are not published yet: a click has about 400 bytes. */
const DAMAGE_FROM_END = 5_000;
const DAMAGE_BYTES = 64;

/** Overwrites bytes in the middle of the latest segment, and appends some that are no click. */
function damage(spools: string): void {
  const segments = readdirSync(spools, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'quarantine')
    .flatMap(({ name }) => listSegments(join(spools, name)));
  const latest = segments.toSorted((a, b) => statSync(b.path).mtimeMs - statSync(a.path).mtimeMs)[0];
  if (latest === undefined) throw new Error(`expected segments in ${spools}, got none`);
  const { size } = statSync(latest.path);
  const file = openSync(latest.path, 'r+');
  writeSync(file, Buffer.alloc(DAMAGE_BYTES, 0xff), 0, DAMAGE_BYTES, size - DAMAGE_FROM_END);
  closeSync(file);
  appendFileSync(latest.path, 'the beginning of a click');
}

/** Drills that lose clicks: the books of the drill miss them from then on. */
export const spoolDrills: readonly Drill[] = [
  {
    cause: 'the ad server is killed, and its spool is damaged before it is adopted',
    alerts: { TollwaySpoolDamaged: [], TollwaySpoolTorn: [] },
    isGentle: false,
    begin: async ({ addAd, click, pidOf, postgresPids, stack, supervisorPid }) => {
      const { adId } = await addAd('Drill: damaged spool', { budget: '100.00', price: '0.01' });
      const resumePostgres = suspend(postgresPids());
      await click(adId, CLICKS);
      const resumeSupervisor = suspend([supervisorPid]);
      process.kill(pidOf('ad-server'), 'SIGKILL');
      await sleep(200);
      damage(join(stack.dataDir, 'spool'));
      await resumeSupervisor();
      await resumePostgres();
      return () => undefined;
    },
  },
];
