import type { Socket } from 'node:net';
import { errorCode } from '../common/errors.ts';
import { type Client, createClient, isSqlState } from '../common/postgres/postgres.ts';
import { describeLockHolders, findLockHolders } from './lock-wait.ts';
import { printNote } from './print.ts';

/** Time between two checks, in ms. */
const CHECK_MS = 5_000;
/** Longest wait for the answer to a check, in ms. */
const ANSWER_MS_MAX = 5_000;
/** Age of a wait for a lock from which on a check says so, in ms. Less than 12 s, after which a change gives up. */
const LOCK_MS_MIN = 5_000;

/**
 * Says on standard error if the database does not answer while a command waits for it, and if it answers again. Statements of a command have no
 * limit of time, because an export or a reconciliation may take hours; so each check opens a connection of its own. An error of the server,
 * such as too many connections, is an answer. It also says if one of `pids`, the sessions of the command, has waited for a lock, and who holds it.
 * Call the result to stop it.
 */
export function watchDatabase(
  url: string,
  pids: () => readonly number[],
  { checkMs = CHECK_MS, answerMsMax = ANSWER_MS_MAX, lockMsMin = LOCK_MS_MIN } = {},
): () => void {
  let timer: NodeJS.Timeout | undefined;
  let client: Client | undefined;
  let isStopped = false;
  let isSilent = false;
  let holders = '';
  const check = async () => {
    client = createClient(url, 'cli check', answerMsMax);
    const found = await readLockHolders(client, pids(), lockMsMin);
    breakOff(client);
    if (isStopped) return;
    const isAnswering = found !== null;
    if (!isAnswering && !isSilent)
      printNote('The database does not answer. The command waits for it; Ctrl-C ends the command');
    if (isAnswering && isSilent) printNote('The database answers again');
    isSilent = !isAnswering;
    if (isAnswering && found !== holders) {
      printNote(found === '' ? 'The command waits for no lock any more' : lockNote(found));
      holders = found;
    }
    schedule();
  };
  const schedule = () => {
    timer = setTimeout(() => void check(), checkMs).unref();
  };
  schedule();
  return () => {
    isStopped = true;
    clearTimeout(timer);
    // A check under way would keep the command from ending.
    if (client) breakOff(client);
  };
}

function lockNote(holders: string): string {
  return `The command waits for a lock of ${holders}. Ctrl-C ends the command; docs/runbook.md#tollwaysettlementblocked says how to end a session`;
}

/** The sessions that hold the locks for which the command waits; an empty text for none. `null` if the database does not answer. */
async function readLockHolders(
  client: Client,
  pids: readonly number[],
  lockMsMin: number,
): Promise<string | null> {
  client.on('error', () => {});
  try {
    await client.connect();
    return describeLockHolders(await findLockHolders(client, pids, lockMsMin));
  } catch (error) {
    return isSqlState(errorCode(error)) ? '' : null;
  }
}

/** Closes a connection without waiting for the server, as `end` would. The types lack the socket of a client. */
function breakOff(client: Client): void {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}
