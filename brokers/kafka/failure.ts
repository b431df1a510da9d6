import { errorCode, errorMessage } from '../../common/errors.ts';

/** An error of a client of Kafka, whichever client it was. */
export type KafkaFailure = {
  readonly kind:
    | 'login'
    | 'topic'
    | 'topic rights'
    | 'group rights'
    | 'coordinator'
    | 'tls'
    | 'away'
    | 'other';
  /** The message of the client. */
  readonly message: string;
  /** Whether a later attempt can succeed with the same settings. */
  readonly retryable: boolean;
};

/** Names of Kafka's own errors; https://kafka.apache.org/41/protocol.html#protocol_error_codes */
const KIND_OF: Readonly<Record<string, KafkaFailure['kind']>> = {
  SASL_AUTHENTICATION_FAILED: 'login',
  UNKNOWN_TOPIC_OR_PARTITION: 'topic',
  TOPIC_AUTHORIZATION_FAILED: 'topic rights',
  GROUP_AUTHORIZATION_FAILED: 'group rights',
};
/** Failures that end only when an operator changes something. */
const PERMANENT_KINDS: readonly string[] = ['login', 'topic rights', 'group rights'];
const PERMANENT_TYPE =
  /^(INVALID_TOPIC_EXCEPTION|INVALID_GROUP_ID|UNSUPPORTED_VERSION|UNSUPPORTED_SASL_MECHANISM)$/;
/** Errors that a retry cannot repair: records that kafkajs cannot read, names and versions that Kafka does not accept. */
const PERMANENT_NAME =
  /^KafkaJS(NotImplemented|UnsupportedMagicByteInMessageSet|ServerDoesNotSupportApiKey)$/;
/** Codes of OpenSSL and of Node's TLS; https://nodejs.org/docs/latest-v24.x/api/tls.html#x509-certificate-error-codes */
const TLS_FAILED = /CERT|TLS|SSL|EPROTO|UNABLE_TO_/;
/** The beginning of the codes of @platformatic/kafka. */
const PLATFORMATIC = 'PLT_KFK_';

/** Whether an error is one of a client of Kafka. */
export function isKafkaFailure(error: unknown): boolean {
  const { name = '' } = error as { name?: string };
  return name.startsWith('KafkaJS') || (errorCode(error)?.startsWith(PLATFORMATIC) ?? false);
}

/** Reads an error of kafkajs or of @platformatic/kafka. Any other error is of the kind `other`. */
export function readFailure(error: unknown): KafkaFailure {
  const read = errorCode(error)?.startsWith(PLATFORMATIC) ? readPlatformatic(error) : readKafkajs(error);
  return { ...read, retryable: read.retryable && !PERMANENT_KINDS.includes(read.kind) };
}

function readKafkajs(error: unknown): KafkaFailure {
  const cause = rootOf(error);
  const { name = '', type = '' } = cause as { name?: string; type?: string };
  const of = (kind: KafkaFailure['kind'], retryable = true) => ({
    kind,
    message: errorMessage(cause),
    retryable,
  });
  if (name === 'KafkaJSSASLAuthenticationError') return of('login');
  const kind = KIND_OF[type];
  if (kind !== undefined && kind !== 'login') return of(kind);
  if (name === 'KafkaJSGroupCoordinatorNotFound') return of('coordinator');
  if (TLS_FAILED.test(errorCode(cause) ?? '')) return of('tls');
  if (/^KafkaJS(Connection|RequestTimeout|BrokerNotFound|NoBroker)/.test(name)) return of('away');
  return of('other', !(PERMANENT_NAME.test(name) || PERMANENT_TYPE.test(type)));
}

/** The first cause: kafkajs wraps errors in others, and the errors of several topics in one that does not name them. */
function rootOf(error: unknown): unknown {
  const { cause, errors } = error as { cause?: unknown; errors?: unknown };
  if (Array.isArray(errors) && errors[0] instanceof Error) return rootOf(errors[0]);
  return cause instanceof Error && cause !== error ? rootOf(cause) : error;
}

/** An error of @platformatic/kafka has the errors of Kafka and of Node inside: as its causes, and as the errors of several brokers or partitions. */
function readPlatformatic(error: unknown): KafkaFailure {
  const all = withCauses(error);
  const codes = all.map((one) => errorCode(one) ?? '');
  const last = all.at(-1);
  const found = all.find((one) => apiIdOf(one) !== '');
  const type = apiIdOf(found);
  const message = serverMessageOf(found) ?? errorMessage(found ?? last);
  const kind = KIND_OF[type];
  if (codes.includes('PLT_KFK_AUTHENTICATION')) return { kind: 'login', message, retryable: false };
  if (kind !== undefined) return { kind, message, retryable: true };
  if (found !== undefined) return { kind: 'other', message, retryable: !PERMANENT_TYPE.test(type) };
  // With options that it has accepted, the library reports as the user's only a TLS that one side does not have.
  const tls = codes.some((code) => code === 'PLT_KFK_USER' || TLS_FAILED.test(code));
  if (tls) return { kind: 'tls', message, retryable: true };
  return { kind: codes.includes('PLT_KFK_NETWORK') ? 'away' : 'other', message, retryable: true };
}

/** An error, and all errors inside it, the outer ones first. */
function withCauses(error: unknown): unknown[] {
  if (!(error instanceof Error)) return [];
  const { cause, errors } = error as { cause?: unknown; errors?: unknown };
  return [error, ...withCauses(cause), ...(Array.isArray(errors) ? errors.flatMap(withCauses) : [])];
}

/** Kafka's name of an error, such as `NOT_LEADER_OR_FOLLOWER`; empty for any other error. */
function apiIdOf(error: unknown): string {
  const { apiId } = (error ?? {}) as { apiId?: unknown };
  return typeof apiId === 'string' ? apiId : '';
}

/** The broker's own words, which say more than the name of the error, or `null`. */
function serverMessageOf(error: unknown): string | null {
  const { serverErrorMessage } = (error ?? {}) as { serverErrorMessage?: unknown };
  return typeof serverErrorMessage === 'string' && serverErrorMessage !== '' ? serverErrorMessage : null;
}
