import { writeJson } from '../../common/json.ts';
import { isWatermarkKey, parseClickKey, type ReadRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { badEvent, isObject } from './bad-event.ts';
import { decodeBase64 } from './base64.ts';

const TOO_DEEP = Symbol('a value nested too deeply');
/** The beginning of a JSON object, with an optional byte order mark. */
const OBJECT = /^\ufeff?[ \t\r\n]*\{/;

/**
 * Reads the messages that OpenWhisk's Kafka feed passes to an action. Keys and values are text. Values that the feed has parsed
 * (`isJSONData`) are serialized again; keys and values that it has encoded (`isBinaryKey`, `isBinaryValue`) are decoded. The messages do
 * not tell which options the feed has, so this recognizes a click by its form.
 * Throws `bad_event` for other parameters. https://github.com/apache/openwhisk-package-kafka
 */
export function readMessages(functionName: string, params: unknown): ReadRecord[] {
  const messages = isObject(params) ? params.messages : undefined;
  if (!Array.isArray(messages))
    throw badEvent(functionName, 'messages', 'the messages of a Kafka feed', messages);
  return messages.map((message: unknown, index) => {
    const field = `messages[${index}]`;
    if (!isObject(message)) throw badEvent(functionName, field, 'a message', message);
    const { topic, partition, offset, key, value } = message;
    if (typeof topic !== 'string') throw badEvent(functionName, `${field}.topic`, 'a text', topic);
    if (!Number.isSafeInteger(partition))
      throw badEvent(functionName, `${field}.partition`, 'a whole number', partition);
    if (!Number.isSafeInteger(offset))
      throw badEvent(functionName, `${field}.offset`, 'a whole number', offset);
    // The same position as the Kafka source of the processor writes.
    const position = `${topic}/${String(partition)}@${String(offset)}`;
    const bytes = bytesOf(value);
    return bytes === TOO_DEEP
      ? tooDeep(keyOf(key), position)
      : readRecord({ key: keyOf(key), value: bytes }, position);
  });
}

function keyOf(key: unknown): string | null {
  if (typeof key !== 'string' || key === '') return null;
  const decoded = decodeMime(key)?.toString() ?? null;
  return parseClickKey(decoded) !== null || isWatermarkKey(decoded) ? decoded : key;
}

function bytesOf(value: unknown): Buffer | typeof TOO_DEEP | null {
  if (value === null || value === undefined || value === '') return null;
  if (typeof value !== 'string') {
    const text = writeJson(value);
    return text === null ? TOO_DEEP : Buffer.from(text);
  }
  const decoded = decodeMime(value);
  return decoded !== null && OBJECT.test(decoded.toString()) ? decoded : Buffer.from(value);
}

/** The record of a value that the feed has parsed and that cannot be serialized again; its bytes are not available. */
function tooDeep(key: string | null, position: string): ReadRecord {
  const { from } = readRecord({ key, value: null }, position);
  const detail = 'Expected a click event, got JSON that is nested too deeply';
  return { is: 'unreadable', key, value: null, position, from, reason: 'malformed', detail };
}

/** Decodes base64 with line breaks as in MIME, which the feed's Python code writes. */
function decodeMime(text: string): Buffer | null {
  return decodeBase64(text.replace(/[ \t\r\n]+/g, ''));
}
