/* Writes src/server/contract.ts, the types of what the server takes and gives, from the server's own OpenAPI document:
 * where the two drift apart, the page no longer compiles. Knows the schema words that the document uses, and stops at
 * any other. */
import { readFileSync, writeFileSync } from "node:fs";

const here = new URL(".", import.meta.url);
const { components } = JSON.parse(readFileSync(new URL("../../../src/serve/openapi.json", here), "utf8"));
const known = new Set(
  ("$ref allOf oneOf type properties required additionalProperties items enum description default format pattern minimum " +
    "maximum exclusiveMinimum exclusiveMaximum minItems maxItems minLength maxLength").split(" "),
);

const indented = (text) => text.replaceAll("\n", "\n  ");
const comment = (text) => (text ? `/** ${text.replaceAll("*/", "* /")} */\n` : "");

function typeOf(schema) {
  for (const word of Object.keys(schema)) if (!known.has(word)) throw new Error(`openapi.json: schema word ${word} is not known`);
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.allOf) return schema.allOf.map(typeOf).join(" & ");
  if (schema.oneOf) return schema.oneOf.map(typeOf).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ ...schema, type })).join(" | ");
  switch (schema.type) {
    case "integer":
    case "number":
      return "number";
    case "string":
    case "boolean":
    case "null":
      return schema.type;
    case "array": {
      const item = typeOf(schema.items);
      return /[ {]/.test(item) ? `Array<${item}>` : `${item}[]`;
    }
    case "object": {
      const required = new Set(schema.required);
      const members = Object.entries(schema.properties ?? {}).map(([name, member]) =>
        indented(`\n${comment(member.description)}${name}${required.has(name) ? "" : "?"}: ${typeOf(member)};`));
      return `{${members.join("")}\n}`;
    }
    default:
      throw new Error(`openapi.json: a schema has type ${schema.type}`);
  }
}

const types = Object.entries(components.schemas).map(
  ([name, schema]) => `${comment(schema.description)}export type ${name} = ${typeOf(schema)};\n`);
writeFileSync(
  new URL("../src/server/contract.ts", here),
  `/* Written by tools/contract.mjs from src/serve/openapi.json; not to be edited. */\n\n${types.join("\n")}`,
);
