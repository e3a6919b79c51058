/**
 * Validates glTF/GLB files with Khronos' validator.
 *
 * Files come from the command line, or as a JSON array of paths on stdin when there are none.
 * Prints a JSON array of {file, errors, warnings, infos, messages}; exit status 1 when any file has an error.
 * A file that cannot be read or parsed counts as one error, so that nothing is passed over.
 */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import validator from "gltf-validator";

async function stdin() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

async function validate(file) {
  try {
    const report = await validator.validateBytes(new Uint8Array(await readFile(file)), {
      uri: file,
      maxIssues: 100,
      externalResourceFunction: async (uri) =>
        new Uint8Array(await readFile(resolve(dirname(file), decodeURIComponent(uri)))),
    });
    const { numErrors, numWarnings, numInfos, numHints, messages } = report.issues;
    return { file, errors: numErrors, warnings: numWarnings, infos: numInfos + numHints, messages };
  } catch (error) {
    const message = { code: "UNREADABLE", message: String(error), severity: 0 };
    return { file, errors: 1, warnings: 0, infos: 0, messages: [message] };
  }
}

const named = process.argv.slice(2);
const files = named.length > 0 ? named : await stdin();
const reports = [];
for (const file of files) reports.push(await validate(file));
process.stdout.write(`${JSON.stringify(reports, null, 1)}\n`);
process.exitCode = reports.some((report) => report.errors > 0) ? 1 : 0;
