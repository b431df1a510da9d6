import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, settings } from '../../common/config/config.ts';
import { errorCode, TollwayError } from '../../common/errors.ts';
import { type PartAddresses, partAddresses } from '../../common/part-addresses.ts';

/** The addresses of a stack. `npm start` writes them to the data folder, where commands read them. */
export type Stack = PartAddresses & {
  readonly databaseUrl: string;
  readonly broker: Config['BROKER'];
  /** The settings of the broker and of webhooks, so that commands in another terminal use the same. */
  readonly settings: Readonly<Record<string, string>>;
  readonly dataDir: string;
  /** Process id of `npm start`; absent if the parts were started without it. */
  readonly pid?: number;
};

function stackPath(dataDir: string): string {
  return join(dataDir, 'stack.json');
}

/** Writes the file that describes a running stack. Only its owner can read it: the database URL contains a password. */
export function writeStack(stack: Stack): void {
  const temporary = `${stackPath(stack.dataDir)}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(stack, null, 2)}\n`, { mode: 0o600 });
  renameSync(temporary, stackPath(stack.dataDir));
}

export function removeStack(dataDir: string): void {
  rmSync(stackPath(dataDir), { force: true });
}

/** Reads the file that `npm start` wrote, or returns `null` if there is none. Throws `bad_stack_file`. */
export function readStack(dataDir: string): Stack | null {
  try {
    return JSON.parse(readFileSync(stackPath(dataDir), 'utf8')) as Stack;
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return null;
    throw new TollwayError(
      'bad_stack_file',
      `Expected to read ${stackPath(dataDir)}, got: ${(error as Error).message}`,
    );
  }
}

/** Variables that the AWS SDK reads itself and that are not secret. */
export const AWS_SETTINGS = ['AWS_REGION', 'AWS_PROFILE'];
const SHARED_SETTINGS = /^(BROKER$|KAFKA_|KINESIS_|WEBHOOK_)/;

/** The stack that the settings describe; `env` is the environment that they were read from. */
export function stackOf(
  config: Config,
  databaseUrl: string,
  env: Readonly<Record<string, string | undefined>>,
): Stack {
  const given = [...Object.keys(settings).filter((name) => SHARED_SETTINGS.test(name)), ...AWS_SETTINGS];
  return {
    ...partAddresses(config),
    databaseUrl,
    broker: config.BROKER,
    settings: Object.fromEntries(given.flatMap((name) => (env[name] ? [[name, env[name]]] : []))),
    dataDir: config.DATA_DIR,
  };
}
