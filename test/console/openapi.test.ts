import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../common/error-codes.ts';
import { type RouteErrorCode, statusOf } from '../../console/api/problem.ts';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

type Response = { description: string; content?: Record<string, { schema: unknown }>; headers?: object };
type Operation = {
  operationId: string;
  summary: string;
  tags: string[];
  security?: unknown[];
  parameters?: { name: string; in: string }[];
  responses: Record<string, Response>;
};
type Document = {
  openapi: string;
  tags: { name: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: object;
};

/** The document as a client without a key reads it. */
async function readDocument(): Promise<Document> {
  const answer = await api.send('GET', '/v1/openapi.json', { headers: { authorization: '' } });
  expect(answer.status).toBe(200);
  return answer.body;
}

const operationsOf = ({ paths }: Document) =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

/** All values of a key in a JSON value. */
function valuesOf(key: string, value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, one]) => [
    ...(name === key ? [one] : []),
    ...valuesOf(key, one),
  ]);
}

describe('GET /v1/openapi.json', () => {
  it('describes every operation, with a name of its own', async () => {
    const document = await readDocument();
    expect(document.openapi).toBe('3.1.0');
    const operations = operationsOf(document);
    expect(operations.length).toBeGreaterThanOrEqual(6);
    for (const { path, method, operation } of operations) {
      expect(operation.summary, `${method} ${path}`).toMatch(/^[A-Z].*[^.]$/);
      expect(operation.tags, `${method} ${path}`).toHaveLength(1);
    }
    const groups = new Set(operations.flatMap(({ operation }) => operation.tags));
    expect(groups).toEqual(new Set(document.tags.map(({ name }) => name)));
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('has every route under /v1, and no other', async () => {
    const document = await readDocument();
    const described = operationsOf(document).map(
      ({ path, method }) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, ':')}`,
    );
    const routes = api.routes().filter((route) => route.includes(' /v1/') && !route.endsWith('openapi.json'));
    // Fastify prints two names of one parameter as `:reference|:clickId`.
    const unnamed = routes.map((route) => route.replace(/:[\w:|]+/g, ':'));
    expect(described.sort()).toEqual(unnamed.sort());
  });

  it('refers to nothing that is missing', async () => {
    const document = await readDocument();
    const references = valuesOf('$ref', document) as string[];
    expect(references.length).toBeGreaterThan(20);
    for (const reference of references) {
      const found = reference
        .slice(2)
        .split('/')
        .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], document);
      expect(found, reference).toBeDefined();
    }
  });

  it('describes each error as problem details with codes of docs/errors.md', async () => {
    for (const { path, method, operation } of operationsOf(await readDocument())) {
      const errors = Object.entries(operation.responses).filter(([status]) => Number(status) >= 400);
      const statuses = errors.map(([status]) => status);
      expect(statuses, `${method} ${path}`).toEqual(
        expect.arrayContaining(['400', '401', '403', '429', '500', '503']),
      );
      for (const [status, { description, content }] of errors) {
        expect(Object.keys(content ?? {}), `${method} ${path} ${status}`).toEqual([
          'application/problem+json',
        ]);
        const codes = [...description.matchAll(/`(\w+)`/g)].map(([, code]) => code);
        expect(codes.length).toBeGreaterThan(0);
        for (const code of codes) expect(ERROR_CODES).toContain(code);
      }
    }
  });

  it('has no error with status 500 but `internal`', async () => {
    for (const { path, method, operation } of operationsOf(await readDocument()))
      expect(operation.responses['500']?.description, `${method} ${path}`).toBe('Error: `internal`.');
    // @ts-expect-error A code without a status cannot be declared.
    const code: RouteErrorCode = 'clock_step';
    expect(statusOf(code)).toBe(500);
  });

  it('has no value of several unnamed schemas', async () => {
    const choices = [...valuesOf('anyOf', await readDocument()), ...valuesOf('oneOf', await readDocument())];
    for (const choice of choices as { $ref?: string; type?: string }[][])
      for (const one of choice) expect(one.$ref ?? one.type, JSON.stringify(choice)).toMatch(/^#|^null$/);
  });

  it('has the headers of retries, ETags and limits', async () => {
    const { paths } = await readDocument();
    const advertiser = paths['/v1/advertisers/{advertiserId}'];
    expect(advertiser?.patch?.parameters).toContainEqual({ $ref: '#/components/parameters/IfMatch' });
    expect(Object.keys(advertiser?.get?.responses['200']?.headers ?? {})).toEqual([
      'RateLimit-Limit',
      'RateLimit-Remaining',
      'RateLimit-Reset',
      'ETag',
    ]);
    expect(paths['/v1/advertisers']?.post?.parameters).toContainEqual({
      $ref: '#/components/parameters/IdempotencyKey',
    });
  });
});

describe('GET /reference', () => {
  it('is a page without a key that loads nothing from other hosts', async () => {
    const page = await api.app.inject({ url: '/reference/' });
    expect(page.statusCode).toBe(200);
    expect(page.headers['content-type']).toContain('text/html');
    expect(page.headers['content-security-policy']).toContain("default-src 'none'");
    expect(page.body.match(/(src|href)="(https?:)?\/\//g)).toBeNull();
    const script = await api.app.inject({ url: '/reference/js/scalar.js' });
    expect(script.statusCode).toBe(200);
    expect(script.body.length).toBeGreaterThan(1e6);
  });

  it('is found without the final slash', async () => {
    const answer = await api.app.inject({ url: '/reference' });
    expect(answer).toMatchObject({ statusCode: 301, headers: { location: '/reference/' } });
  });
});
