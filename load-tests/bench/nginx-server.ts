import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { uuidV7 } from '../../common/uuid.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { openGuard, untilAnswers } from '../../emulators/process/guarded-process.ts';
import { pinnedCommand } from './pinned.ts';
import { destination, type Usage } from './redirect-protocol.ts';
import type { ResourceScope } from './resource-scope.ts';

/** Folders of system packages, which PATH may not contain. */
const FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];
/** A clock tick of /proc/<pid>/stat in µs: Linux uses 100 ticks per second. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
const TICK_MICROS = 10_000;

/** The path of the installed `nginx`, or `null`. */
export function findNginx(path = process.env.PATH ?? ''): string | null {
  const folders = [...path.split(delimiter).filter((folder) => folder !== ''), ...FOLDERS];
  const isThere = (file: string) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  };
  return folders.map((folder) => join(folder, 'nginx')).find(isThere) ?? null;
}

/** Starts an nginx that answers every request with `return 302`, in one process on one core. It ends with this process. */
export async function startNginx(
  program: string,
  core: number,
  resources: ResourceScope,
): Promise<{ port: number; usage: () => Usage }> {
  const guard = await openGuard(join(tmpdir(), 'tollway-bench-nginx-'));
  resources.add({ name: 'nginx', close: guard.end });
  const [port = 0] = await freePorts(1);
  writeFileSync(join(guard.folder, 'nginx.conf'), configuration(guard.folder, port));
  const [command = program, ...args] = pinnedCommand(core, [
    program,
    ...['-p', guard.folder, '-e', 'stderr', '-c', 'nginx.conf'],
  ]);
  const nginx = await guard.run(command, args);
  await untilAnswers(
    'nginx',
    () => connects(port),
    async () => (nginx.hasEnded() ? nginx.logTail() : null),
  );
  const pid = readFileSync(join(guard.folder, 'nginx.pid'), 'utf8').trim();
  return { port, usage: () => usageOf(pid) };
}

/** A configuration with one process, without an access log, and with connections that nginx does not close. */
function configuration(folder: string, port: number): string {
  const clickId = uuidV7();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((what) => `  ${what}_temp_path ${folder}/${what};`)
    .join('\n');
  return `daemon off;
master_process off;
pid nginx.pid;
events { worker_connections 1024; }
http {
${temporary}
  access_log off;
  server_tokens off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  server {
    listen 127.0.0.1:${port};
    location / {
      add_header Cache-Control no-store;
      add_header Tollway-Click ${clickId};
      return 302 ${destination(clickId)};
    }
  }
}
`;
}

function connects(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host: '127.0.0.1' }, () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });
}

/** CPU time of another process; NaN without /proc. */
function usageOf(pid: string): Usage {
  try {
    // The command name, in parentheses, can contain any character. User and system time are the 12th and 13th field after it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return { cpuMicros: (Number(fields[11]) + Number(fields[12])) * TICK_MICROS };
  } catch {
    return { cpuMicros: Number.NaN };
  }
}
