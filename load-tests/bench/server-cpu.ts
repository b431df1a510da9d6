import { readdirSync, readFileSync } from 'node:fs';
import type { Pool } from '../../common/postgres/postgres.ts';

/** CPU time of one tick in /proc, in µs: 100 ticks a second on every Linux. */
const TICK_MICROS = 10_000;

/** Returns a function that reads the CPU time of this process and of all processes of a local PostgreSQL together, in µs. Linux only. */
export async function watchCpu(pool: Pool): Promise<() => number> {
  const { rows } = await pool.query<{ pid: number }>('select pg_backend_pid() as pid');
  const server = statOf(rows[0]?.pid ?? 0)?.parent;
  if (server === undefined) throw new Error('Expected a PostgreSQL on this machine');
  return () => {
    const { user, system } = process.cpuUsage();
    return user + system + ticksOf(server) * TICK_MICROS;
  };
}

/** Ticks of the server, of its processes, and of those that have ended. */
function ticksOf(server: number): number {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => statOf(Number(pid)) ?? [])
    .filter(({ parent }) => parent === server);
  const own = statOf(server);
  return [...children, ...(own ? [own] : [])].reduce((sum, { ticks }) => sum + ticks, own?.endedTicks ?? 0);
}

/** The fields of /proc/<pid>/stat; https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function statOf(pid: number): { parent: number; ticks: number; endedTicks: number } | undefined {
  try {
    // The command name, in parentheses, can contain any character. The state follows it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
      .map(Number);
    const [, parent = 0] = fields;
    const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15);
    return { parent, ticks: user + system, endedTicks: endedUser + endedSystem };
  } catch {
    return undefined;
  }
}
