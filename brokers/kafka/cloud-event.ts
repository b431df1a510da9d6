import { CLICK_VERSION } from '../../contract/click-event.ts';

// CloudEvents in Kafka's binary mode; https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
// The id is the record key, so a retry has the same id. A traced click has the attribute of the distributed tracing extension:
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md

/** The headers that every record has, in their order. They stand before `ID`, the type and `TRACEPARENT`. */
export const HEADERS = {
  'content-type': Buffer.from('application/json'),
  ce_specversion: Buffer.from('1.0'),
  ce_source: Buffer.from('/tollway/ad-server'),
  ce_dataschema: Buffer.from(`urn:tollway:click:${CLICK_VERSION}`),
};
/** The header with the record key. */
export const ID = 'ce_id';
/** The header with `CLICK_TYPE` or `WATERMARK_TYPE`. */
export const TYPE = 'ce_type';
export const CLICK_TYPE = Buffer.from('tollway.click');
export const WATERMARK_TYPE = Buffer.from('tollway.watermark');
/** The last header, of a traced click only. */
export const TRACEPARENT = 'ce_traceparent';
