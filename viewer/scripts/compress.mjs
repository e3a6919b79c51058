/** Writes `x.gz` beside every text file of the build that is worth it: the server hands these out instead of packing 4 MB for every reader. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const dist = join(dirname(fileURLToPath(import.meta.url)), "../dist");
const WORTH = 1024;

for (const name of readdirSync(dist, { recursive: true }).filter((one) => one.endsWith(".gz"))) rmSync(join(dist, name));
for (const name of readdirSync(dist, { recursive: true })) {
  if (!/\.(js|json|css|html|svg|xml|wasm)$/.test(name)) continue;
  const bytes = readFileSync(join(dist, name));
  if (bytes.length >= WORTH) writeFileSync(join(dist, `${name}.gz`), gzipSync(bytes, { level: 9 }));
}
