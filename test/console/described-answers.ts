import { Ajv2020, type AnySchema } from 'ajv/dist/2020.js';
import type { Response } from 'light-my-request';
import type { App } from '../../console/api/deps.ts';

/** An answer of the API, and the request that got it. */
type Exchange = {
  readonly method: string;
  readonly url: string;
  readonly response: Response;
  readonly body: unknown;
};
type Described = { description?: string; content?: Record<string, object>; headers?: object };
type Operation = { responses: Record<string, Described> };
type Document = { paths: Record<string, Record<string, Operation>> };

/** The paths of a document as patterns, and its schemas. */
type Description = { readonly document: Document; readonly ajv: Ajv2020 };
/** Made once for all apps: their documents differ in the name of the cookie alone. */
let description: Promise<Description> | undefined;
const SCHEMA_ID = 'api';

/** Throws an `Error` if an answer has a status, a media type, a body or a code of an error that the OpenAPI document does not describe. */
export async function assertDescribed(app: App, { method, url, response, body }: Exchange): Promise<void> {
  description ??= describe(app);
  const { document, ajv } = await description;
  const { statusCode: status, headers } = response;
  const type = String(headers['content-type']).split(';')[0] ?? '';
  const found = findOperation(document, method, url);
  const request = `${method} ${url}`;
  // These two are about requests without a route, which the document cannot have.
  const hasNoRoute = status === 405 || (status === 404 && found === undefined);
  if (found === undefined && !hasNoRoute) return;
  if (status === 204 && found?.operation.responses['204'] && body === null) return;
  const pointer = hasNoRoute ? '/components/schemas/Problem' : pointerOf(request, found, status, type);
  const validate = ajv.getSchema(`${SCHEMA_ID}#${pointer}`);
  if (validate === undefined) throw new Error(`${request}: the OpenAPI document has no ${pointer}`);
  if (type.endsWith('json') && !validate(body))
    throw new Error(
      `${request}: expected an answer of ${pointer}, got ${ajv.errorsText(validate.errors)} in ${JSON.stringify(body)}`,
    );
  const { description: listed = '' } = found?.operation.responses[String(status)] ?? {};
  const { code } = (body ?? {}) as { code?: unknown };
  if (status >= 400 && !hasNoRoute && !listed.includes(`\`${code}\``))
    throw new Error(`${request}: expected one of the codes of ${status} (${listed}), got ${code}`);
}

async function describe(app: App): Promise<Description> {
  const document = (await app.openApi()) as Document;
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(document as AnySchema, SCHEMA_ID);
  return { document, ajv };
}

type Found = { readonly path: string; readonly method: string; readonly operation: Operation };

/** The operation of a request; `undefined` if the document has none. */
function findOperation({ paths }: Document, method: string, url: string): Found | undefined {
  const [requested = ''] = url.split('?');
  const name = method.toLowerCase();
  for (const [path, operations] of Object.entries(paths)) {
    const pattern = new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]*')}$`);
    const operation = operations[name];
    if (operation && pattern.test(requested)) return { path, method: name, operation };
  }
  return undefined;
}

/** The JSON pointer of the schema of an answer. */
function pointerOf(request: string, found: Found | undefined, status: number, type: string): string {
  const response = found?.operation.responses[String(status)];
  if (!found || !response) throw new Error(`${request}: the OpenAPI document has no answer ${status}`);
  if (!response.content?.[type])
    throw new Error(`${request}: expected ${Object.keys(response.content ?? {})} for ${status}, got ${type}`);
  const parts = ['paths', found.path, found.method, 'responses', String(status), 'content', type, 'schema'];
  return parts.map((part) => `/${part.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}
