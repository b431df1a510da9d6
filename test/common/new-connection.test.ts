import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { createPool, failureKind, inTransaction } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';

/** A message of PostgreSQL's protocol: https://www.postgresql.org/docs/18/protocol-message-formats.html */
function message(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(type);
  header.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
}
const AUTHENTICATED = message('R', Buffer.alloc(4));
const READY = message('Z', Buffer.from('I'));
const SHUT_DOWN = message(
  'E',
  Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0'),
);

/** A server that accepts each connection, and shuts down at its first query. */
const server = createServer((socket) => {
  socket.once('data', () => {
    socket.write(Buffer.concat([AUTHENTICATED, READY]));
    socket.once('data', () => socket.end(Buffer.concat([SHUT_DOWN, READY, SHUT_DOWN])));
  });
  socket.on('error', () => {});
});
afterEach(() => {
  server.close();
});

it('a server that shuts down while a new connection is checked fails the transaction as transient', async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const pool = createPool(`postgres://user@127.0.0.1:${port}/none`, 'test', 1, () => {});
  const failed = await inTransaction(pool, async () => {}).catch((error: unknown) => error);
  expect(failureKind(failed)).toBe('transient');
  // An error without a listener would end the process in these turns of the event loop, which fails the run.
  await sleep(50);
  await pool.end();
});
