/* The server counts bytes of UTF-8, the page UTF-16 units. `unitOffsets` turns one into the other for rising offsets. */

/** UTF-16 offsets in `text` of byte offsets in its UTF-8 form, which need not be sorted. An offset within a character
 * goes to the character's beginning, one beyond the end to the end. */
export function unitOffsets(text: string, bytes: readonly number[]): number[] {
  const order = bytes.map((_, index) => index).sort((a, b) => bytes[a]! - bytes[b]!);
  const units = new Array<number>(bytes.length).fill(text.length);
  let byte = 0;
  let unit = 0;
  for (const index of order) {
    const wanted = bytes[index]!;
    while (unit < text.length) {
      const code = text.codePointAt(unit)!;
      const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      if (byte + size > wanted) break;
      byte += size;
      unit += code < 0x10000 ? 1 : 2;
    }
    units[index] = unit;
  }
  return units;
}
