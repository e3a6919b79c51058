/**
 * Types of the API from its OpenAPI definition: node scripts/api-types.mjs openapi.json > src/api/openapi.ts
 * A test of the Python side holds the result against the definition.
 */
import { readFileSync } from "node:fs";
import { compile } from "json-schema-to-typescript";

const text = readFileSync(process.argv[2], "utf8").replaceAll("#/components/schemas/", "#/definitions/");
const { definitions } = { definitions: JSON.parse(text).components.schemas };
// Titles only repeat the names, and would become types of their own.
const bare = (value) => {
  if (Array.isArray(value)) return value.map(bare);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).filter(([key, of]) => !(key === "title" && typeof of === "string")).map(([key, of]) => [key, bare(of)]));
};
const names = Object.keys(definitions).sort();
const schema = { type: "object", additionalProperties: false, required: names, properties: Object.fromEntries(names.map((name) => [name, { $ref: `#/definitions/${name}` }])), definitions: bare(definitions) };
process.stdout.write(await compile(schema, "Schemas", {
  bannerComment: "/** Made from the API's OpenAPI definition by scripts/api-types.mjs; do not edit. */", format: false,
}));
