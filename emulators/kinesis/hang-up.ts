/**
 * Loaded into the emulator before its own code. On SIGTERM it writes its data to disk, but first waits half a minute for
 * clients to close their connections. A server that dies closes them itself.
 */
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

const open = new Set<Socket>();
let hungUp = false;

subscribe('net.server.socket', (message) => {
  const { socket } = message as { socket: Socket };
  if (hungUp) hangUp(socket);
  open.add(socket);
  socket.once('close', () => open.delete(socket));
});

process.on('SIGTERM', () => {
  hungUp = true;
  for (const socket of open) hangUp(socket);
});

function hangUp(socket: Socket): void {
  // Destroyed alone, a socket never tells its reader of an end, and the server waits on.
  socket.push(null);
  socket.destroySoon();
}
