import fc from 'fast-check';

const codePoint = fc.oneof(fc.nat({ max: 0x7f }), fc.nat({ max: 0x10f7ff }));

/** Any character of Unicode; half of them are ASCII. As `unit` of `fc.string`, whose own `binary` takes a second of CPU time to make. */
export const anyCharacter = codePoint.map((number) =>
  // Half of a surrogate pair is no character.
  String.fromCodePoint(number < 0xd800 ? number : number + 0x800),
);
