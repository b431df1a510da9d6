import type { Pool } from '../../common/postgres/postgres.ts';
import { readProcesses, statOf, treeMicros } from './process-cpu.ts';

/** CPU time in µs of this process, and of all processes of a local PostgreSQL, those that have ended included. */
export type CpuReading = { readonly node: number; readonly postgres: number };

/** Returns a function that reads the CPU time of this process and of a local PostgreSQL. Linux only. */
export async function watchCpu(pool: Pool): Promise<() => CpuReading> {
  const server = await findServer(pool);
  return () => {
    const { user, system } = process.cpuUsage();
    return { node: user + system, postgres: treeMicros(readProcesses(), server) };
  };
}

/** Returns a function that reads the CPU time of this process and of a local PostgreSQL together, in µs. Linux only. */
export async function watchTotalCpu(pool: Pool): Promise<() => number> {
  const read = await watchCpu(pool);
  return () => {
    const { node, postgres } = read();
    return node + postgres;
  };
}

/** The process id of the local PostgreSQL that a pool is connected to: all its processes are children of it. Throws if it is not local. */
export async function findServer(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ pid: number }>('select pg_backend_pid() as pid');
  const server = statOf(rows[0]?.pid ?? 0)?.parent;
  if (server === undefined) throw new Error('Expected a PostgreSQL on this machine');
  return server;
}
