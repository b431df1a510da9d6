import { describe, expect, it } from 'vitest';
import { isSetBack as isKafkaSetBack } from '../../brokers/kafka/positions.ts';
import {
  afterPosition,
  END,
  FIRST_RECORD,
  isSetBack,
  sincePosition,
} from '../../brokers/kinesis/positions.ts';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));

describe('a checkpoint of Kafka', () => {
  it.each([
    ['5', '10', true],
    ['15', '10', false],
    ['first 5', '10', true],
    ['10', 'first 5', false],
    [undefined, '10', true],
  ])('at %s, with %s as the known position, is set back: %s', (position, known, expected) => {
    expect(isKafkaSetBack(position, known)).toBe(expected);
  });
});

describe('a checkpoint of Kinesis', () => {
  it.each([
    [afterPosition('9', at(9)), afterPosition('10', at(1)), true],
    // Compared as numbers, not as text.
    [afterPosition('10', at(1)), afterPosition('9', at(9)), false],
    [afterPosition('9', at(2)), sincePosition(at(1)), false],
    [sincePosition(at(1)), afterPosition('9', at(2)), true],
    [sincePosition(at(2)), sincePosition(at(1)), false],
    [FIRST_RECORD, sincePosition(at(1)), true],
    [sincePosition(at(1)), FIRST_RECORD, false],
    [END, afterPosition('9', at(2)), false],
    [afterPosition('9', at(2)), END, true],
    [undefined, FIRST_RECORD, true],
  ])('at %s, with %s as the known position, is set back: %s', (position, known, expected) => {
    expect(isSetBack(position, known)).toBe(expected);
  });
});
