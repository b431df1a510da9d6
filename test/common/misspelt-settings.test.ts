import { describe, expect, it } from 'vitest';
import { settings } from '../../common/config/config.ts';
import { misspeltSettings, warnOfMisspelt } from '../../common/config/misspelt-settings.ts';
import { parseSettings } from '../../common/config/parse-settings.ts';
import { capturedLog } from '../support/loggers.ts';

/** Variables that shells, containers, CI, cloud platforms, databases and frameworks set. */
const COMMON =
  `HOME PATH PWD OLDPWD USER USERNAME LOGNAME SHELL TERM TERM_PROGRAM COLORTERM LANG LANGUAGE LC_ALL LC_CTYPE TZ TMPDIR TEMP TMP
EDITOR VISUAL PAGER MAIL DISPLAY HOSTNAME HOST PORT SHLVL _ LS_COLORS SSH_AUTH_SOCK SSH_CLIENT SSH_CONNECTION SSH_TTY XDG_CACHE_HOME
XDG_RUNTIME_DIR XDG_DATA_DIRS XDG_DATA_HOME DBUS_SESSION_BUS_ADDRESS http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY NO_COLOR
FORCE_COLOR CI DEBUG VERBOSE NODE_ENV NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NVM_DIR NVM_BIN npm_config_cache npm_config_prefix
npm_lifecycle_event npm_package_name npm_package_version npm_execpath INIT_CWD COLUMNS LINES PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE
PGDATA PGOPTIONS PGSERVICE POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB POSTGRES_URL POSTGRES_HOST DATABASE_HOST DATABASE_PORT DATABASE_USER
DATABASE_NAME DATABASE_PASSWORD TEST_DATABASE_URL SHADOW_DATABASE_URL DATABASE_URL_UNPOOLED DB_URL DB_HOST REDIS_URL AMQP_URL MONGO_URL
AWS_REGION AWS_DEFAULT_REGION AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_LAMBDA_FUNCTION_NAME
AWS_EXECUTION_ENV AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_RUNTIME_API AWS_LAMBDA_LOG_GROUP_NAME
AWS_LAMBDA_LOG_STREAM_NAME AWS_LAMBDA_INITIALIZATION_TYPE AWS_LAMBDA_LOG_FORMAT AWS_LAMBDA_LOG_LEVEL LAMBDA_TASK_ROOT LAMBDA_RUNTIME_DIR _HANDLER
AWS_XRAY_DAEMON_ADDRESS AWS_XRAY_CONTEXT_MISSING K_SERVICE K_REVISION K_CONFIGURATION FUNCTION_TARGET FUNCTION_SIGNATURE_TYPE __OW_ACTIVATION_ID
__OW_DEADLINE __OW_API_HOST __OW_NAMESPACE AWS_ENDPOINT_URL AWS_ENDPOINT_URL_KINESIS _X_AMZN_TRACE_ID GOOGLE_APPLICATION_CREDENTIALS AZURE_CLIENT_ID
KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_PORT AD_SERVER_SERVICE_HOST AD_SERVER_SERVICE_PORT AD_SERVER_PORT_8080_TCP
AD_SERVER_PORT_8080_TCP_PORT TOLLWAY_SERVICE_HOST TOLLWAY_SERVICE_PORT TOLLWAY_PORT KAFKA_SERVICE_HOST KAFKA_PORT KAFKA_HOME KAFKA_OPTS
KAFKA_HEAP_OPTS KAFKA_USER KAFKA_CLIENT_ID KAFKA_CFG_NODE_ID JAVA_HOME JAVA_OPTS PYTHONPATH GOPATH CARGO_HOME DOCKER_HOST COMPOSE_PROJECT_NAME
GITHUB_TOKEN GITHUB_ACTIONS GITHUB_SHA LOG_FILE LOG_DIR LOG_PATH LOGLEVEL_ROOT APP_HOST API_HOST OPS_USER PUBLIC_DIR PUBLIC_HOST BASE_URL
NEXT_PUBLIC_URL SERVER_PORT SERVER_HOST DATA_PATH SENTRY_DSN OTEL_SERVICE_NAME OTEL_EXPORTER_OTLP_ENDPOINT PROMETHEUS_URL VITEST TOLLWAY_CACHE_DIR`
    .split(/\s+/)
    .map((name) => [name, 'x']);

describe('a variable that looks like a setting', () => {
  it.each([
    ['KAFKA_BROKER', 'KAFKA_BROKERS'],
    ['DATABSE_URL', 'DATABASE_URL'],
    ['DATABASE_URI', 'DATABASE_URL'],
    ['DATABASE_ULR', 'DATABASE_URL'],
    ['LINK_KEY', 'LINK_KEYS'],
    ['SPOOL_MAXBYTES', 'SPOOL_MAX_BYTES'],
    ['BORKER', 'BROKER'],
    ['TOLLWAY_BROKER', 'BROKER'],
    ['TOLLWAY_KAFKA_BROKER', 'KAFKA_BROKERS'],
    ['TOLLWAY_DATABASE_URL', 'DATABASE_URL'],
    ['database_url', 'DATABASE_URL'],
    ['KAFKA_TSL', 'KAFKA_TLS'],
    ['AD_SERVER_WORKER', 'AD_SERVER_WORKERS'],
  ])('%s is reported as a misspelt %s', (name, nearest) => {
    expect(misspeltSettings({ [name]: 'x' })).toEqual([{ name, nearest }]);
  });

  it.each(Object.keys(settings))('%s without its last character is reported', (setting) => {
    const name = setting.slice(0, -1);
    expect(misspeltSettings({ [name]: 'x' }).map((found) => found.name)).toEqual([name]);
  });

  it('is logged once, without its value', () => {
    const { logger, lines } = capturedLog();
    warnOfMisspelt({ DATABSE_URL: 'postgres://user:secret@host/db', HOME: '/' }, logger);
    expect(lines).toEqual([
      'warn The environment variable DATABSE_URL is not a setting of Tollway and is ignored. Did you mean DATABASE_URL?',
    ]);
  });
});

describe('a variable that is not similar to a setting', () => {
  it('is not reported', () => {
    expect(COMMON.length).toBeGreaterThan(100);
    expect(misspeltSettings(Object.fromEntries(COMMON))).toEqual([]);
  });

  it('is not reported from the environment of the test itself', () => {
    expect(misspeltSettings(process.env)).toEqual([]);
  });

  it('is not reported if it is a setting', () => {
    expect(misspeltSettings(Object.fromEntries(Object.keys(settings).map((name) => [name, 'x'])))).toEqual(
      [],
    );
  });
});

describe('the settings of a process', () => {
  it('that has a wrong value and a misspelt name are reported together', () => {
    const env = { AD_SERVER_PORT: '99999', KAFKA_BROKER: 'kafka:9092' };
    expect(() => parseSettings(env)).toThrow(
      expect.objectContaining({
        code: 'bad_settings',
        message: expect.stringMatching(
          /^The environment has 1 problem:\n {2}AD_SERVER_PORT: .+\nThe environment variable KAFKA_BROKER is .+ KAFKA_BROKERS\?$/,
        ),
      }),
    );
  });

  it('that have right values are parsed, whatever else the environment has', () => {
    expect(parseSettings({ KAFKA_BROKER: 'kafka:9092', AD_SERVER_PORT: '80' }).AD_SERVER_PORT).toBe(80);
  });
});
