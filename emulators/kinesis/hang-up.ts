/**
 * Loaded into the emulator before its own code. On SIGTERM the emulator waits half a minute for clients to close their connections before it
 * writes its data to disk. This module closes the connections at once, like a server that dies.
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
  // `destroySoon` alone does not emit `end` to the reader, and the server would keep waiting.
  socket.push(null);
  socket.destroySoon();
}
