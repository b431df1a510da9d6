import { readFileSync } from 'node:fs';
import { errorCode } from './errors.ts';

/** Descriptors reserved for files, the database and the broker: a quarter of the limit, within these bounds. */
const RESERVE_MIN = 48;
const RESERVE_MAX = 1_000;
/** Maximum connections of an operations port: an eighth of the limit, within these bounds. */
const OPERATIONS_MIN = 8;
const OPERATIONS_MAX = 64;
/** Maximum connections of the public port, however high the limit is. Each takes about 10 KB of memory. */
const PUBLIC_MAX = 20_000;
/** A lower limit would leave no connections for the public port. */
const OPEN_FILES_MIN = 80;
/** https://www.sqlite.org/rescode.html#nomem */
const SQLITE_NOMEM = 7;

/**
 * Maximum files and sockets that this process can have open, or `Infinity` without a limit. Node raises its soft limit to the hard limit
 * when it starts, so the number is read from the process, not from its shell.
 */
export function openFilesMax(): number {
  return process.platform === 'linux' ? linuxLimit() : reportedLimit();
}

function linuxLimit(): number {
  const [, soft] =
    /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
  return soft === undefined || soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

/** Systems without `/proc`: https://nodejs.org/api/report.html */
function reportedLimit(): number {
  // The report is untyped. Without the field there is no limit.
  const report = process.report?.getReport() as unknown as {
    userLimits?: { open_files?: { soft?: number | 'unlimited' } };
  };
  const soft = report?.userLimits?.open_files?.soft;
  return typeof soft === 'number' ? soft : Number.POSITIVE_INFINITY;
}

/** Maximum connections of each port of a process. The rest of the descriptors is for files, the database and the broker. */
export type ConnectionLimits = { readonly public: number; readonly operations: number };

/** Divides a limit of open files between the ports and everything else. A limit below 80 counts as 80. */
export function connectionLimits(openFiles: number = openFilesMax()): ConnectionLimits {
  const files = Math.max(openFiles, OPEN_FILES_MIN);
  const reserve = Math.min(Math.max(Math.floor(files / 4), RESERVE_MIN), RESERVE_MAX);
  const operations = Math.min(Math.max(Math.floor(files / 8), OPERATIONS_MIN), OPERATIONS_MAX);
  return { public: Math.min(files - reserve - operations, PUBLIC_MAX), operations };
}

const SCARCE = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** Whether an error, or its cause, means that the system is out of descriptors or memory. Such an error is temporary: retry. */
export function isOutOfResources(error: unknown): boolean {
  if (SCARCE.has(errorCode(error) ?? '')) return true;
  if (!(error instanceof Error)) return false;
  return (error as { errcode?: unknown }).errcode === SQLITE_NOMEM || isOutOfResources(error.cause);
}
