import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

// Below the range of ephemeral ports (Linux: from 32768). Otherwise an outgoing connection could take the port of a server while it is stopped,
// even a connection attempt to that server itself.
const LOWEST = 15_000;
const HIGHEST = 32_000;
const ATTEMPTS_MAX = 200;

/** Returns free ports of 127.0.0.1. Throws if too few are found. */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let attempt = 0; found.size < count; attempt += 1) {
    if (attempt === ATTEMPTS_MAX)
      throw new Error(`Expected ${count} free ports from ${LOWEST} to ${HIGHEST}, got ${found.size}`);
    const port = randomInt(LOWEST, HIGHEST);
    if (await isFree(port)) found.add(port);
  }
  return [...found];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
