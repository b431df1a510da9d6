import type { KinesisClient } from '@aws-sdk/client-kinesis';
import { expect, it } from 'vitest';
import { explainKinesis, readStream } from '../../brokers/kinesis/client.ts';

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

it('A stream that is being deleted counts as missing: its shards are listed, and soon nobody can read them', async () => {
  const client = {
    config: { region: async () => 'eu-west-1' },
    send: async () => ({ StreamDescriptionSummary: { StreamStatus: 'DELETING' } }),
  } as unknown as KinesisClient;
  await expect(
    readStream(client, { KINESIS_STREAM: 'clicks', KINESIS_ENDPOINT: undefined }),
  ).rejects.toMatchObject({
    code: 'kinesis_stream',
    retryable: true,
  });
});
