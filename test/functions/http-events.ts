/** A click of a test. The defaults are those of a browser. */
export type TestRequest = {
  readonly path?: string;
  readonly query?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly sourceIp?: string;
  readonly stage?: string;
  /** The mapping key of a custom domain. */
  readonly mappingKey?: string;
};

/** The user agent of a browser. */
export const CHROME =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';

/**
 * The event of an HTTP API; https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 * The path begins with the name of the stage, if it has one, and with the mapping key of a custom domain.
 */
export function httpApiEvent({
  path = '/',
  query = '',
  method = 'GET',
  headers = { 'user-agent': CHROME },
  sourceIp = '198.51.100.77',
  stage = '$default',
  mappingKey,
}: TestRequest) {
  const before = mappingKey ?? (stage === '$default' ? undefined : stage);
  const rawPath = before === undefined ? path : `/${before}${path}`;
  const [, token] = /^\/c\/([^/]+)$/.exec(path) ?? [];
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath,
    rawQueryString: query,
    headers,
    // The route of the deployments. A mapping key is in no separate field.
    ...(mappingKey === undefined ? {} : { pathParameters: { token }, routeKey: `${method} /c/{token+}` }),
    requestContext: {
      accountId: '123456789012',
      apiId: 'api-id',
      domainName: 'id.execute-api.us-east-1.amazonaws.com',
      domainPrefix: 'id',
      http: { method, path: rawPath, protocol: 'HTTP/1.1', sourceIp, userAgent: headers['user-agent'] ?? '' },
      requestId: 'id',
      routeKey: '$default',
      stage,
      time: '12/Mar/2026:19:03:58 +0000',
      timeEpoch: 1_773_342_238_000,
    },
    isBase64Encoded: false,
  };
}

/** The event of a function URL; https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads */
export function functionUrlEvent(request: TestRequest) {
  const event = httpApiEvent(request);
  const { requestContext } = event;
  return {
    ...event,
    requestContext: {
      ...requestContext,
      authentication: null,
      authorizer: null,
      accountId: 'anonymous',
      domainName: 'id.lambda-url.us-east-1.on.aws',
      stage: '$default',
    },
  };
}

/** Events of other services, which are not requests in payload format 2.0. */
export const FOREIGN_EVENTS: Readonly<Record<string, unknown>> = {
  nothing: {},
  null: null,
  'a list': [],
  SQS: { Records: [{ messageId: '1', body: '{}', eventSource: 'aws:sqs' }] },
  // https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#apigateway-example-event
  'a REST API (payload format 1.0)': {
    version: '1.0',
    resource: '/c/x',
    path: '/c/x',
    httpMethod: 'GET',
    headers: {},
    requestContext: { httpMethod: 'GET', identity: { sourceIp: '198.51.100.77' }, stage: 'prod' },
  },
  // https://docs.aws.amazon.com/lambda/latest/dg/services-alb.html
  'a load balancer': {
    requestContext: { elb: { targetGroupArn: 'arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/x/y' } },
    httpMethod: 'GET',
    path: '/c/x',
    queryStringParameters: {},
    headers: {},
    body: '',
    isBase64Encoded: false,
  },
  'a payload format to come': { ...httpApiEvent({ path: '/c/x' }), version: '3.0' },
  'a request without a path': { ...httpApiEvent({}), rawPath: undefined },
  'a request without a method': { ...httpApiEvent({ path: '/c/x' }), requestContext: {} },
};
