// The layout of a record batch of version 2; https://kafka.apache.org/41/documentation.html#recordbatch

/** Offsets of the fields of a batch, in bytes. The checksum is of all bytes behind it. */
export const LENGTH_AT = 8;
export const LEADER_EPOCH_AT = 12;
export const MAGIC_AT = 16;
export const CRC_AT = 17;
export const ATTRIBUTES_AT = 21;
export const LAST_OFFSET_DELTA_AT = 23;
export const FIRST_TIMESTAMP_AT = 27;
export const MAX_TIMESTAMP_AT = 35;
export const PRODUCER_AT = 43;
export const COUNT_AT = 57;
/** Where the records begin: the bytes of a batch before them. */
export const RECORDS_AT = 61;
