import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorMessage } from '../../common/errors.ts';
import { type Resource, sleep } from '../../common/process.ts';

/** Time a child gets to end by itself, in ms: the whole stack drains within ten seconds. */
const END_MS_MAX = 12_000;

/** Everything a bench has started or made: folders, children, connections. Ended in reverse order, always. */
export class ResourceScope {
  private readonly resources: Resource[] = [];
  private closing: Promise<void> | null = null;

  add(resource: Resource): void {
    this.resources.push(resource);
  }

  /** A temporary folder, which a database of another user may enter. */
  folder(): string {
    const path = mkdtempSync(join(tmpdir(), 'tollway-bench-'));
    this.add({ name: path, close: () => rmSync(path, { recursive: true, force: true }) });
    chmodSync(path, 0o755);
    return path;
  }

  /** Starts a child that is ended with us. It hears of our end by its channel, should we be killed. */
  child(command: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [program = '', ...args] = command;
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      // A Ctrl-C in the terminal reaches us alone, and we end the child.
      detached: true,
      ...options,
    });
    // Without a listener a program that is not there ends the process.
    child.on('error', () => {});
    this.add({ name: command.join(' '), close: () => endChild(child) });
    return child;
  }

  /** Ends everything. A failure of one does not keep the others. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      for (let resource = this.resources.pop(); resource; resource = this.resources.pop()) {
        try {
          await resource.close();
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
