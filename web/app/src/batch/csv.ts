/* CSV as RFC 4180 has it, read and written: quotes, doubled quotes, line feeds within quotes, a byte-order mark. */

/** Rows of fields. Throws where a quote is not closed. */
export function readCsv(source: string): string[][] {
  const text = source.charCodeAt(0) === 0xfeff ? source.slice(1) : source;
  const rows: string[][] = [];
  let row: string[] = [];
  let field = "";
  let at = 0;
  const endField = () => {
    row.push(field);
    field = "";
  };
  const endRow = () => {
    endField();
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
  };
  while (at < text.length) {
    const character = text[at]!;
    if (character === '"' && field === "") {
      const opened = rows.length + 1;
      at++;
      for (;;) {
        const quote = text.indexOf('"', at);
        if (quote < 0) throw new Error(`record ${opened}: a quote is opened and never closed`);
        field += text.slice(at, quote);
        at = quote + 1;
        if (text[at] !== '"') break;
        field += '"';
        at++;
      }
    } else if (character === ",") {
      endField();
      at++;
    } else if (character === "\n" || character === "\r") {
      endRow();
      at += character === "\r" && text[at + 1] === "\n" ? 2 : 1;
    } else {
      const start = at;
      while (at < text.length && text[at] !== "," && text[at] !== "\n" && text[at] !== "\r") at++;
      field += text.slice(start, at);
    }
  }
  if (field !== "" || row.length > 0) endRow();
  return rows;
}

/** One line, ended. A field that a spreadsheet would take for a formula is led by an apostrophe. */
export function csvLine(fields: readonly (string | number | null)[]): string {
  return (
    fields
      .map((field) => {
        if (field === null) return "";
        if (typeof field === "number") return String(field);
        const safe = /^[=+\-@\t\r]/.test(field) ? "'" + field : field;
        return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
      })
      .join(",") + "\r\n"
  );
}
