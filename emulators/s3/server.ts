import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createMultipartUploads, type MultipartUploads } from './multipart.ts';
import { noSuchUpload, notImplemented, type Reply, refusal, tooLarge, toXml, xml } from './reply.ts';
import { type ObjectBody, type StoredObject, toStored } from './stored-object.ts';

/** A request that the server received. */
export type S3Request = { readonly method: string; readonly bucket: string; readonly key: string };

/** An in-memory S3 server for tests, in this process. */
export type S3Server = {
  /** Environment variables for the AWS SDK. */
  readonly env: Readonly<Record<string, string>>;
  /** Stores an object and returns its version id. Earlier versions can still be read by their ids. */
  readonly put: (bucket: string, key: string, body: ObjectBody) => string;
  readonly remove: (bucket: string, key: string) => void;
  /** The keys of a bucket in ascending order. */
  readonly keys: (bucket: string) => string[];
  /** The content of an object. Throws if it does not exist. */
  readonly content: (bucket: string, key: string) => Buffer;
  /** Number of multipart uploads that are neither completed nor aborted. */
  readonly uploadCount: () => number;
  readonly requests: () => readonly S3Request[];
  /** Sets a function that is called before each answer. If it throws, the connection is closed. `null` removes it. */
  readonly intercept: (work: ((request: S3Request) => Promise<void> | void) | null) => void;
  /** Closes the connection after this many bytes of the body of an object; `null` disables it. */
  readonly breakAfter: (bytes: number | null) => void;
  readonly stop: () => Promise<void>;
};

/** Limit of keys per answer; https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html */
const KEYS_MAX = 1_000;
const PIECE_BYTES = 65_536;
/** Limit of the size of a PUT request, in bytes. */
const PUT_BYTES_MAX = 33_554_432;

/**
 * Starts a server with empty buckets. Like AWS, it answers with XML and error codes, lists keys in byte order and in pages, and gives each object a
 * CRC-64/NVME, which the SDK verifies. It accepts any signature but requires one, and answers `NotImplemented` to other requests.
 */
export async function startS3(
  buckets: readonly string[],
  { keysMax = KEYS_MAX }: { keysMax?: number } = {},
): Promise<S3Server> {
  const stored = new Map(buckets.map((name) => [name, new Map<string, StoredObject>()]));
  /** All versions, by bucket, key and id. */
  const versions = new Map<string, StoredObject>();
  const uploads = createMultipartUploads();
  const requests: S3Request[] = [];
  let intercept: ((request: S3Request) => Promise<void> | void) | null = null;
  let breakAfter: number | null = null;

  const server = createServer(async (request, response) => {
    try {
      const url = new URL(request.url ?? '/', 'http://s3');
      const [, bucket = '', key = ''] = /^\/([^/]*)\/?(.*)$/.exec(decodeURIComponent(url.pathname)) ?? [];
      const received = { method: request.method ?? '', bucket, key };
      requests.push(received);
      await intercept?.(received);
      await send(
        response,
        await answer(request, url, received, { stored, versions, uploads, keysMax }),
        received.method,
        breakAfter,
      );
    } catch {
      response.destroy();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // The address of a listening TCP server has this type.
  const { port } = server.address() as AddressInfo;
  const bucketOf = (name: string) => {
    const found = stored.get(name);
    if (!found) throw new Error(`Expected one of the buckets ${buckets.join(', ')}, got ${name}`);
    return found;
  };
  return {
    env: environmentOf(port),
    put: (bucket, key, body) => {
      const object = toStored(body);
      bucketOf(bucket).set(key, object);
      versions.set(versionName(bucket, key, object.versionId), object);
      return object.versionId;
    },
    remove: (bucket, key) => void bucketOf(bucket).delete(key),
    keys: (bucket) => inOrder([...bucketOf(bucket).keys()]),
    content: (bucket, key) => {
      const object = bucketOf(bucket).get(key);
      if (!object) throw new Error(`Expected an object ${key} in ${bucket}, got none`);
      return Buffer.concat(object.pieces);
    },
    uploadCount: uploads.count,
    requests: () => requests,
    intercept: (work) => {
      intercept = work;
    },
    breakAfter: (bytes) => {
      breakAfter = bytes;
    },
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function environmentOf(port: number): Readonly<Record<string, string>> {
  return {
    AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  };
}

async function answer(
  request: IncomingMessage,
  url: URL,
  { method, bucket, key }: S3Request,
  {
    stored,
    versions,
    uploads,
    keysMax,
  }: {
    stored: ReadonlyMap<string, Map<string, StoredObject>>;
    versions: ReadonlyMap<string, StoredObject>;
    uploads: MultipartUploads;
    keysMax: number;
  },
): Promise<Reply> {
  if (request.headers.authorization === undefined) return refusal(403, 'AccessDenied', 'Access Denied');
  const objects = stored.get(bucket);
  if (!objects) return refusal(404, 'NoSuchBucket', 'The specified bucket does not exist');
  if (method === 'GET' && key === '') return list(bucket, objects, url.searchParams, keysMax);
  if (key === '' || request.headers.range !== undefined) return notImplemented();
  if (url.searchParams.has('uploads') || url.searchParams.has('uploadId')) {
    return multipart(request, url.searchParams, { method, bucket, key }, objects, uploads);
  }
  if (method === 'PUT') return put(request, objects, key);
  if (method === 'DELETE') {
    // As in S3, deleting a missing object succeeds.
    objects.delete(key);
    return { status: 204 };
  }
  if (method !== 'GET' && method !== 'HEAD') return notImplemented();
  const versionId = url.searchParams.get('versionId');
  const object = versionId === null ? objects.get(key) : versions.get(versionName(bucket, key, versionId));
  if (!object) {
    return versionId === null
      ? refusal(404, 'NoSuchKey', 'The specified key does not exist.')
      : refusal(404, 'NoSuchVersion', 'The specified version does not exist.');
  }
  const expectedTag = request.headers['if-match'];
  if (expectedTag !== undefined && expectedTag !== object.eTag)
    return refusal(
      412,
      'PreconditionFailed',
      'At least one of the pre-conditions you specified did not hold',
    );
  const verified = request.headers['x-amz-checksum-mode'] === 'ENABLED';
  return {
    status: 200,
    headers: {
      ETag: object.eTag,
      'Content-Length': object.bytes,
      'Content-Type': 'binary/octet-stream',
      'Last-Modified': object.modifiedAt.toUTCString(),
      'x-amz-version-id': object.versionId,
      'Accept-Ranges': 'bytes',
      ...(verified
        ? { 'x-amz-checksum-crc64nvme': object.checksum, 'x-amz-checksum-type': 'FULL_OBJECT' }
        : {}),
    },
    body: object,
  };
}

async function put(
  request: IncomingMessage,
  objects: Map<string, StoredObject>,
  key: string,
): Promise<Reply> {
  if (request.headers['content-encoding']?.includes('aws-chunked')) return notImplemented();
  const pieces = await bodyOf(request);
  if (pieces === null) return tooLarge();
  const object = toStored(pieces);
  objects.set(key, object);
  return { status: 200, headers: { ETag: object.eTag, 'Content-Length': 0 } };
}

/** The body of a request, or `null` if it is too large. */
async function bodyOf(request: IncomingMessage): Promise<Buffer[] | null> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request) {
    bytes += piece.length;
    if (bytes > PUT_BYTES_MAX) return null;
    pieces.push(piece);
  }
  return pieces;
}

async function multipart(
  request: IncomingMessage,
  query: URLSearchParams,
  { method, bucket, key }: S3Request,
  objects: Map<string, StoredObject>,
  uploads: MultipartUploads,
): Promise<Reply> {
  if (request.headers['content-encoding']?.includes('aws-chunked')) return notImplemented();
  const name = JSON.stringify([bucket, key]);
  const id = query.get('uploadId') ?? '';
  const body = await bodyOf(request);
  if (body === null) return tooLarge();
  if (method === 'POST' && query.has('uploads')) {
    const begun = `<Bucket>${bucket}</Bucket><Key>${toXml(key)}</Key><UploadId>${uploads.begin(name)}</UploadId>`;
    return xml(200, `<InitiateMultipartUploadResult>${begun}</InitiateMultipartUploadResult>`);
  }
  if (method === 'DELETE') return uploads.abort(name, id) ? { status: 204 } : noSuchUpload();
  if (method === 'PUT') {
    const eTag = uploads.addPart(name, id, Number(query.get('partNumber')), body);
    return eTag === null ? noSuchUpload() : { status: 200, headers: { ETag: eTag, 'Content-Length': 0 } };
  }
  if (method !== 'POST') return notImplemented();
  const completed = uploads.complete(name, id, Buffer.concat(body).toString());
  if ('code' in completed) return refusal(completed.code === 'NoSuchUpload' ? 404 : 400, completed.code, '');
  const object = toStored(completed.pieces);
  objects.set(key, object);
  const result = `<Bucket>${bucket}</Bucket><Key>${toXml(key)}</Key><ETag>${toXml(object.eTag)}</ETag>`;
  return xml(200, `<CompleteMultipartUploadResult>${result}</CompleteMultipartUploadResult>`);
}

function list(
  bucket: string,
  objects: ReadonlyMap<string, StoredObject>,
  query: URLSearchParams,
  keysMax: number,
): Reply {
  if (query.get('list-type') !== '2' || query.has('delimiter') || query.has('start-after'))
    return notImplemented();
  const prefix = query.get('prefix') ?? '';
  const token = query.get('continuation-token');
  const after = token === null ? null : Buffer.from(token, 'base64').toString();
  const count = Math.min(Number(query.get('max-keys') ?? keysMax), keysMax);
  const left = inOrder([...objects.keys()]).filter(
    (key) => key.startsWith(prefix) && (after === null || Buffer.from(key).compare(Buffer.from(after)) > 0),
  );
  const page = left.slice(0, count);
  const isTruncated = left.length > count;
  const inUrl = query.get('encoding-type') === 'url';
  const written = (key: string) => (inUrl ? encodeURIComponent(key) : toXml(key));
  const contents = page.map((key) => {
    const { bytes, eTag, modifiedAt } = objects.get(key) as StoredObject;
    return (
      `<Contents><Key>${written(key)}</Key><LastModified>${modifiedAt.toISOString()}</LastModified>` +
      `<ETag>${toXml(eTag)}</ETag><Size>${bytes}</Size><StorageClass>STANDARD</StorageClass></Contents>`
    );
  });
  const next = isTruncated ? Buffer.from(page.at(-1) ?? '').toString('base64') : null;
  return xml(
    200,
    `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${toXml(bucket)}</Name>` +
      `<Prefix>${written(prefix)}</Prefix><KeyCount>${page.length}</KeyCount><MaxKeys>${count}</MaxKeys>` +
      `<IsTruncated>${isTruncated}</IsTruncated>` +
      (next === null ? '' : `<NextContinuationToken>${next}</NextContinuationToken>`) +
      `${contents.join('')}</ListBucketResult>`,
  );
}

async function send(
  response: ServerResponse,
  { status, headers = {}, body }: Reply,
  method: string,
  breakAfter: number | null,
): Promise<void> {
  response.writeHead(status, { ...headers, 'x-amz-request-id': 'TEST', Server: 'AmazonS3' });
  if (body === undefined || method === 'HEAD') return void response.end();
  if (typeof body === 'string') return void response.end(body);
  await pipeline(Readable.from(piecesOf(body, breakAfter)), response);
}

/** Yields the pieces of an object. Throws after `breakAfter` bytes, which closes the connection. */
function* piecesOf({ pieces }: StoredObject, breakAfter: number | null): Generator<Buffer> {
  let left = breakAfter ?? Number.POSITIVE_INFINITY;
  for (const whole of pieces) {
    for (let at = 0; at < whole.length; at += PIECE_BYTES) {
      const piece = whole.subarray(at, Math.min(at + PIECE_BYTES, whole.length));
      if (piece.length > left) {
        yield piece.subarray(0, left);
        throw new Error('Closed by breakAfter');
      }
      left -= piece.length;
      yield piece;
    }
  }
}

function versionName(bucket: string, key: string, versionId: string): string {
  return JSON.stringify([bucket, key, versionId]);
}

function inOrder(keys: readonly string[]): string[] {
  return [...keys].sort((one, other) => Buffer.from(one).compare(Buffer.from(other)));
}
