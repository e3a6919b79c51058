/** Names of columns as the tiles write them (3D Metadata identifiers), by the rule of the tiler: `tiling/encoding/slug.py`. */

/** ASCII letters, digits and `_` stay; other letters and digits become `u` and their code point; the rest `_`. */
export function slug(column: string): string {
  const safe = [...column].map((c) => (/[a-zA-Z0-9_]/.test(c) ? c : /[\p{L}\p{N}]/u.test(c) ? `u${c.codePointAt(0)!.toString(16)}` : "_")).join("");
  return /^[a-zA-Z_]/.test(safe) ? safe : `_${safe}`;
}

/** Distinct identifiers of a layer's columns in the tiler's order: the id first; a second name with the same slug gets `_2`. */
export function propertyIds(columns: readonly string[]): Map<string, string> {
  const ids = new Map<string, string>();
  const taken = new Set<string>();
  for (const name of ["id", ...columns.filter((column) => column !== "id")]) {
    const base = slug(name);
    let candidate = base;
    for (let n = 2; taken.has(candidate); n += 1) candidate = `${base}_${n}`;
    taken.add(candidate);
    ids.set(name, candidate);
  }
  return ids;
}

/**
 * Test of the 3D Tiles style language for a feature without a value of this property (`${…}`). It comes before every comparison of numbers: one
 * with `undefined` is an error there, and an error in a style ends the drawing of the whole scene.
 */
export const unknown = (property: string): string => `${property} === undefined || ${property} === null`;
