import { uuidV7 } from '../../common/uuid.ts';
import type { NamedAd } from '../support/records.ts';

export type LineOverrides = {
  /** Whether lines have a `clickId`; otherwise they have only a time. */
  readonly withId?: boolean;
};

/** Lines of a click file with the current time, on the given ads in rotation. */
export function clickLines(
  ads: readonly NamedAd[],
  count: number,
  { withId = false }: LineOverrides = {},
): string[] {
  const now = Date.now();
  return Array.from({ length: count }, (_, index) => {
    const { id, campaignId, advertiserId, priceMicros } = ads[index % ads.length] as NamedAd;
    return JSON.stringify({
      adId: id,
      campaignId,
      advertiserId,
      priceMicros: Number(priceMicros),
      ...(withId ? { clickId: uuidV7(now) } : { clickedAt: now }),
    });
  });
}

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html */
export function s3Event(bucket: string, key: string, versionId?: string) {
  return {
    Records: [
      {
        eventVersion: '2.1',
        eventSource: 'aws:s3',
        awsRegion: 'us-east-1',
        eventTime: '2026-01-31T12:00:00.000Z',
        eventName: 'ObjectCreated:Put',
        userIdentity: { principalId: 'AWS:AIDAEXAMPLE' },
        requestParameters: { sourceIPAddress: '192.0.2.1' },
        responseElements: { 'x-amz-request-id': 'C3D13FE58DE4C810', 'x-amz-id-2': 'FMyUVURIY8' },
        s3: {
          s3SchemaVersion: '1.0',
          configurationId: 'clicks',
          bucket: { name: bucket, ownerIdentity: { principalId: 'A3NL1K' }, arn: `arn:aws:s3:::${bucket}` },
          object: {
            // Form encoding, except for slashes.
            key: encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/'),
            size: 1,
            eTag: 'd41d8cd98f00b204e9800998ecf8427e',
            sequencer: '0055AED6DCD90281E5',
            // Only for a bucket with versions.
            ...(versionId === undefined ? {} : { versionId }),
          },
        },
      },
    ],
  };
}
