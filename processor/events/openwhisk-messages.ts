import { type ReadRecord, readRecord } from '../../producer/click-event.ts';
import { badEvent, isObject } from './bad-event.ts';

/** MIME's: with line ends. */
const BASE64 = /^[A-Za-z0-9+/\r\n]+={0,2}\s*$/;

/**
 * Reads what OpenWhisk's Kafka feed hands to an action. Keys and values are text; a value that the feed was told to parse
 * (`isJSONData`) is written as text again, one that it was told to encode (`isBinaryValue`) is decoded.
 * Throws `bad_event` for what is not from the feed. https://github.com/apache/openwhisk-package-kafka
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
    // The place as the long-lived consumer names it.
    return readRecord(
      { key: typeof key === 'string' && key !== '' ? key : null, value: bytesOf(value) },
      `${topic}/${String(partition)}@${String(offset)}`,
    );
  });
}

function bytesOf(value: unknown): Buffer | null {
  if (value === null || value === undefined || value === '') return null;
  if (typeof value !== 'string') return Buffer.from(JSON.stringify(value));
  // A click begins with `{"`, and `eyJ` is how that begins in base64.
  return value.startsWith('eyJ') && BASE64.test(value) ? Buffer.from(value, 'base64') : Buffer.from(value);
}
