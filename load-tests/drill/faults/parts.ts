import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatLinkKeys } from '../../../common/config/link-keys.ts';
import { freePorts } from '../../../emulators/process/free-ports.ts';
import { openGuard } from '../../../emulators/process/guarded-process.ts';
import type { Part } from '../../load/find-part.ts';
import type { Drill, Undo, World } from '../drill.ts';
import { unsetSettings } from '../drill-stack.ts';
import { untilTrue } from '../until-true.ts';

const KILLS = 4;
/** Longest wait until a part that was killed runs again and has been scraped, in ms. */
const RESTART_MS_MAX = 20_000;

const AD_SERVER = join(import.meta.dirname, '..', '..', '..', 'ad-server', 'main.ts');
/** A module that sets the clock of a process an hour ahead. */
const HOUR_AHEAD = 'data:text/javascript,const { now } = Date; Date.now = () => now() + 3_600_000;';

/** Suspends processes, which then answer nothing. */
export function suspend(pids: readonly number[]): Undo {
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  return () => {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  };
}

/** Kills a part repeatedly, each time after Prometheus has scraped it. `npm start` starts it again. */
async function killRepeatedly({ pidOf, prometheus }: World, part: Part): Promise<void> {
  const start = async () =>
    (await prometheus.query(`process_start_time_seconds{job="${part}"} and up{job="${part}"} == 1`))[0]
      ?.value?.[1];
  for (let kill = 0; kill < KILLS; kill += 1) {
    const before = await start();
    process.kill(pidOf(part), 'SIGKILL');
    const isBack = async () => {
      const now = await start();
      return now !== undefined && now !== before;
    };
    await untilTrue(`the ${part} after a kill`, isBack, RESTART_MS_MAX);
  }
}

/** Starts another ad server, whose clock is an hour ahead. It gets no clicks. */
async function startFastAdServer({ stack, prometheus, targets }: World): Promise<Undo> {
  const guard = await openGuard(join(tmpdir(), 'tollway-drill-clock-'));
  const [port = 0, opsPort = 0] = await freePorts(2);
  await guard.run(process.execPath, ['--import', HOUR_AHEAD, AD_SERVER], {
    ...unsetSettings(),
    DATABASE_URL: stack.databaseUrl,
    DATA_DIR: join(guard.folder, 'data'),
    LINK_KEYS: formatLinkKeys([{ id: 'drill', state: 'signs', secret: randomBytes(32) }]),
    AD_SERVER_PORT: String(port),
    AD_SERVER_OPS_PORT: String(opsPort),
    LOG_LEVEL: 'error',
  });
  prometheus.setTargets({
    ...targets,
    'ad-server': [...(targets['ad-server'] ?? []), `127.0.0.1:${opsPort}`],
  });
  return async () => {
    prometheus.setTargets(targets);
    await guard.end();
  };
}

/** Drills that stop, kill or lose parts. */
export const partDrills: readonly Drill[] = [
  {
    cause: 'the ad server and the processor hang',
    alerts: { TollwayPartDown: [] },
    isGentle: false,
    begin: async ({ pidOf }) => suspend([pidOf('ad-server'), pidOf('processor')]),
  },
  {
    cause: 'Prometheus loses the processor from its targets',
    alerts: { TollwayPartAbsent: [] },
    isGentle: false,
    begin: async ({ prometheus, targets }) => {
      prometheus.setTargets({ ...targets, processor: [] });
      return () => prometheus.setTargets(targets);
    },
  },
  {
    cause: 'the clock of an ad server is an hour ahead',
    alerts: { TollwayClockOff: [] },
    isGentle: false,
    begin: startFastAdServer,
  },
  {
    cause: 'the processor and the console are killed four times',
    // `npm start` waits for seconds before it starts a part again that was killed repeatedly.
    alerts: { TollwayPartRestarts: [['[15s]', '[1m]']], TollwayConsoleRestarts: [['[15s]', '[1m]']] },
    isGentle: false,
    begin: async (world) => {
      await Promise.all([killRepeatedly(world, 'processor'), killRepeatedly(world, 'console')]);
      return () => undefined;
    },
  },
  {
    cause: 'the console hangs',
    alerts: {
      TollwayConsoleDown: [],
      // A reconciliation takes place once a minute.
      TollwayReconciliationOld: [
        ['> 1800', '> 75'],
        ['[30s]', '[5m]'],
      ],
    },
    isGentle: false,
    begin: async ({ pidOf }) => suspend([pidOf('console')]),
  },
];
