import { expect, it } from 'vitest';
import { explainKinesis } from '../../brokers/kinesis/client.ts';

it('A problem names the endpoint without its credentials', () => {
  const config = {
    KINESIS_STREAM: 'clicks',
    KINESIS_ENDPOINT: 'https://user:Sup3rSecret@kinesis.example.com:8443/?token=Sup3rSecret',
  };
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  const { message } = explainKinesis(refused, config);
  expect(message).toContain('KINESIS_ENDPOINT: https://kinesis.example.com:8443 does not answer');
  expect(message).not.toContain('Sup3rSecret');
});
