import type { ObjectLocation } from '../../common/s3.ts';
import { badEvent, isObject } from './bad-event.ts';

/**
 * Reads the created objects, with their versions, from an S3 event notification. The test notification has none. Throws `bad_event` for
 * any other event. https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
 */
export function readS3Event(functionName: string, event: unknown): ObjectLocation[] {
  if (isObject(event) && event.Event === 's3:TestEvent') return [];
  const records = isObject(event) ? event.Records : undefined;
  if (!Array.isArray(records))
    throw badEvent(functionName, 'Records', 'the event notification of an S3 bucket', event);
  return records.map((record: unknown, index) => {
    const field = `Records[${index}]`;
    const source = isObject(record) ? (record.eventSource ?? record.EventSource) : record;
    if (!isObject(record) || source !== 'aws:s3')
      throw badEvent(functionName, `${field}.eventSource`, '"aws:s3"', source);
    const { eventName, s3 } = record;
    if (typeof eventName !== 'string' || !eventName.startsWith('ObjectCreated:'))
      throw badEvent(functionName, `${field}.eventName`, '"ObjectCreated:…"', eventName);
    const bucket = isObject(s3) && isObject(s3.bucket) ? s3.bucket.name : undefined;
    const object = isObject(s3) && isObject(s3.object) ? s3.object : {};
    const { key, versionId } = object;
    if (typeof bucket !== 'string') throw badEvent(functionName, `${field}.s3.bucket.name`, 'a text', bucket);
    if (typeof key !== 'string') throw badEvent(functionName, `${field}.s3.object.key`, 'a text', key);
    // Keys are encoded as in HTML forms: a space is a plus.
    try {
      const location = { bucket, key: decodeURIComponent(key.replaceAll('+', ' ')) };
      // A bucket without versioning sends none. With it, reads this version: a later one has its own notification.
      return typeof versionId === 'string' ? { ...location, versionId } : location;
    } catch {
      throw badEvent(functionName, `${field}.s3.object.key`, 'a URL-encoded text', key);
    }
  });
}
