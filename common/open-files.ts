import { readFileSync } from 'node:fs';
import { errorCode } from './errors.ts';

/** Descriptors kept for files, the database and the broker: a quarter of the limit within these bounds. */
const RESERVE_MIN = 48;
const RESERVE_MAX = 1_000;
/** Most connections of an operations port: an eighth of the limit within these bounds. */
const OPERATIONS_MIN = 8;
const OPERATIONS_MAX = 64;
/** Most connections of the public port, whatever the limit: memory for each is some 10 KB. */
const PUBLIC_MAX = 20_000;
/** Below this limit nothing would be left for the public port. */
const OPEN_FILES_MIN = 80;
/** https://www.sqlite.org/rescode.html#nomem */
const SQLITE_NOMEM = 7;

/**
 * Most files and sockets that this process may have open. Node raises its soft limit to the hard one when it starts, so the number is
 * read from the process itself, not from its shell. `Infinity` where there is no limit.
 */
export function openFilesMax(): number {
  return process.platform === 'linux' ? limitOfLinux() : limitOfReport();
}

function limitOfLinux(): number {
  const [, soft] =
    /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
  return soft === undefined || soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

/** Systems without `/proc`: https://nodejs.org/api/report.html */
function limitOfReport(): number {
  // The report is untyped; where it names no limit there is none.
  const report = process.report?.getReport() as unknown as {
    userLimits?: { open_files?: { soft?: number | 'unlimited' } };
  };
  const soft = report?.userLimits?.open_files?.soft;
  return typeof soft === 'number' ? soft : Number.POSITIVE_INFINITY;
}

/** How many connections each port of a process may have, so that descriptors remain for files, the database and the broker. */
export type ConnectionLimits = { readonly public: number; readonly operations: number };

/** Shares a limit of open files between the ports and everything else. A limit below 80 is treated as 80. */
export function connectionLimits(openFiles: number = openFilesMax()): ConnectionLimits {
  const files = Math.max(openFiles, OPEN_FILES_MIN);
  const reserve = Math.min(Math.max(Math.floor(files / 4), RESERVE_MIN), RESERVE_MAX);
  const operations = Math.min(Math.max(Math.floor(files / 8), OPERATIONS_MIN), OPERATIONS_MAX);
  return { public: Math.min(files - reserve - operations, PUBLIC_MAX), operations };
}

const SCARCE = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** Whether an error, or one that caused it, says that the system has no descriptor or memory to give for now. It passes: try again. */
export function isOutOfResources(error: unknown): boolean {
  if (SCARCE.has(errorCode(error) ?? '')) return true;
  if (!(error instanceof Error)) return false;
  return (error as { errcode?: unknown }).errcode === SQLITE_NOMEM || isOutOfResources(error.cause);
}
