import type { StoredObject } from './stored-object.ts';

/** The answer to a request. */
export type Reply = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: string | StoredObject;
};

/** Escapes text for XML. */
export function toXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** An answer in XML. */
export function xml(status: number, text: string): Reply {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n${text}`;
  return {
    status,
    body,
    headers: { 'Content-Type': 'application/xml', 'Content-Length': Buffer.byteLength(body) },
  };
}

/** An error of S3. */
export function refusal(status: number, code: string, message: string): Reply {
  return xml(status, `<Error><Code>${code}</Code><Message>${message}</Message></Error>`);
}

/** The error of a request with a body that is too large. */
export function tooLarge(): Reply {
  return refusal(400, 'EntityTooLarge', 'The object is too large');
}

/** The error of an unknown multipart upload. */
export function noSuchUpload(): Reply {
  return refusal(404, 'NoSuchUpload', 'The specified multipart upload does not exist.');
}

/** The error of a request that this server does not know. */
export function notImplemented(): Reply {
  return refusal(
    501,
    'NotImplemented',
    'A header you provided implies functionality that is not implemented',
  );
}
