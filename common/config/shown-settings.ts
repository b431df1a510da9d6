import { withoutCredentials } from '../without-credentials.ts';
import { type Config, parseConfig, settings } from './config.ts';

/** A setting as operators may see it. */
export type ShownSetting = {
  readonly name: string;
  /** The value as text; `null`: it is not set. Of a secret only that it is `set`, of a URL with credentials only its public parts. */
  readonly value: string | null;
  readonly isDefault: boolean;
};

type Name = keyof Config;
type Show = { readonly [N in Name]?: (value: NonNullable<Config[N]>) => string };

const text = (value: string) => value;
const list = (values: readonly string[]) => values.join(', ');

/** How the settings that are texts are shown. One without an entry can be a secret: it is shown as `set`. Whole numbers need none. */
const SHOW: Show = {
  AD_SERVER_HOST: text,
  CONSOLE_HOST: text,
  WEBHOOK_PRIVATE_TARGETS: text,
  OPS_HOST: text,
  OPS_ALLOWED_HOSTS: list,
  PUBLIC_URL: text,
  DATA_DIR: text,
  DATABASE_URL: withoutCredentials,
  BROKER: text,
  KAFKA_CLIENT: text,
  KAFKA_BROKERS: list,
  KAFKA_TOPIC: text,
  KAFKA_GROUP: text,
  KAFKA_COMPRESSION: text,
  KAFKA_TLS: text,
  KAFKA_TLS_CA: text,
  KAFKA_TLS_CERT: text,
  KAFKA_TLS_KEY: text,
  KAFKA_SASL: text,
  KAFKA_USERNAME: text,
  KINESIS_STREAM: text,
  KINESIS_ENDPOINT: withoutCredentials,
  START_POSITION: (position) => (position instanceof Date ? position.toISOString() : position),
  LINK_KEYS: (keys) => list(keys.map(({ id, state }) => `${id} ${state}`)),
  HTTP_FRONT: text,
  TRUSTED_PROXIES: (proxies) => list(proxies.map(({ address, prefix }) => `${address}/${prefix}`)),
  AGENT_RULES_FILE: text,
  NO_USER_AGENT: text,
  ERROR_PAGE_FILE: text,
  SPOOL_SYNC: text,
  SPOOL_FULL: text,
  LOG_LEVEL: text,
  LOG_FORMAT: text,
};

/** All settings of this process, in the order of the configuration page, without secrets. */
export function shownSettings(config: Config): ShownSetting[] {
  const defaults = parseConfig({});
  // PUBLIC_URL follows AD_SERVER_PORT if it is not set.
  const defaultUrl = parseConfig({ AD_SERVER_PORT: String(config.AD_SERVER_PORT) }).PUBLIC_URL;
  const isDefault = (name: Name) =>
    JSON.stringify(config[name]) === JSON.stringify(name === 'PUBLIC_URL' ? defaultUrl : defaults[name]);
  // The keys of the object are the names of the settings.
  return (Object.keys(settings) as Name[]).map((name) => ({
    name,
    value: show(name, config[name]),
    isDefault: isDefault(name),
  }));
}

function show(name: Name, value: Config[Name]): string | null {
  if (value === undefined) return null;
  if (typeof value === 'number') return String(value);
  // The cast is safe: `Show` gives each name a function of its own value.
  const shown = SHOW[name] as ((given: Config[Name]) => string) | undefined;
  return shown === undefined ? 'set' : shown(value);
}
