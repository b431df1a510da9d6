import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorMessage } from '../../common/errors.ts';
import { type Resource, sleep } from '../../common/process.ts';

/** Time until a child is killed after SIGTERM, in ms. The stack drains within ten seconds. */
const END_MS_MAX = 12_000;

/** The resources of a benchmark: folders, child processes, connections. They are closed in reverse order. */
export class ResourceScope {
  private readonly resources: Resource[] = [];
  private closing: Promise<void> | null = null;

  add(resource: Resource): void {
    this.resources.push(resource);
  }

  /** Creates a temporary folder that other users can enter, such as the user of the database. */
  folder(): string {
    const path = mkdtempSync(join(tmpdir(), 'tollway-bench-'));
    this.add({ name: path, close: () => rmSync(path, { recursive: true, force: true }) });
    chmodSync(path, 0o755);
    return path;
  }

  /** Starts a child process that ends with this process. If this process is killed, the child's IPC channel closes. */
  child(command: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [program = '', ...args] = command;
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      // A Ctrl-C in the terminal reaches only this process, which then stops the child.
      detached: true,
      ...options,
    });
    // Without a listener, the error for a missing program would end this process.
    child.on('error', () => {});
    this.add({ name: command.join(' '), close: () => endChild(child) });
    return child;
  }

  /** Closes all resources. If one fails, the others are still closed. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      for (let resource = this.resources.pop(); resource; resource = this.resources.pop()) {
        try {
          await resource.close(0);
        } catch (error) {
          process.stderr.write(`${resource.name} did not close cleanly: ${errorMessage(error)}\n`);
        }
      }
      this.closing = null;
    })();
    return this.closing;
  }
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const ended = await Promise.race([exited.then(() => true), sleep(END_MS_MAX).then(() => false)]);
  if (!ended) child.kill('SIGKILL');
  await exited;
}
