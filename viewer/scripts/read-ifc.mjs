// What web-ifc reads of an IFC file, as JSON, for the differential test of our reader (tests/differential/test_ifc_second_engine.py).
//   node scripts/read-ifc.mjs FILE → {schema, elements: {guid: [class, name]}, psets: {guid: {set: {property: value}}},
//   quantities: the same, boxes: {guid: [minx, miny, minz, maxx, maxy, maxz]} in metres, model axes, colors: {guid: [[r, g, b, a], …]}}
import { readFileSync } from "node:fs";
import { IfcAPI, IFCPRODUCT, IFCPROPERTYSET, IFCELEMENTQUANTITY, IFCPROPERTYSINGLEVALUE, IFCRELDEFINESBYPROPERTIES } from "web-ifc";

const api = new IfcAPI();
await api.Init();
api.SetLogLevel(6); // off
const model = api.OpenModel(new Uint8Array(readFileSync(process.argv[2])), { COORDINATE_TO_ORIGIN: false });
const found = { schema: api.GetModelSchema(model), elements: {}, psets: {}, quantities: {}, boxes: {}, colors: {} };

const each = (type, inherited, use) => {
  const ids = api.GetLineIDsWithType(model, type, inherited);
  for (let i = 0; i < ids.size(); i += 1) use(ids.get(i));
};

const guidOf = new Map();
each(IFCPRODUCT, true, (id) => {
  const line = api.GetLine(model, id);
  guidOf.set(id, line.GlobalId.value);
  found.elements[line.GlobalId.value] = [api.GetNameFromTypeCode(line.type), line.Name?.value ?? null];
});

const many = (value) => (value == null ? [] : Array.isArray(value) ? value : [value]);
const definitions = new Map();
const definition = (id) => {
  if (!definitions.has(id)) {
    const line = api.GetLine(model, id);
    const values = {};
    const quantity = line.type === IFCELEMENTQUANTITY;
    if (quantity || line.type === IFCPROPERTYSET) {
      for (const reference of many(quantity ? line.Quantities : line.HasProperties)) {
        const item = api.GetLine(model, reference.value);
        const key = quantity ? Object.keys(item).find((name) => name.endsWith("Value")) : "NominalValue";
        if (!quantity && item.type !== IFCPROPERTYSINGLEVALUE) continue;
        if (key && item[key] != null) values[item.Name.value] = item[key].value;
      }
      definitions.set(id, [quantity ? "quantities" : "psets", line.Name?.value ?? null, values]);
    } else definitions.set(id, null);
  }
  return definitions.get(id);
};
each(IFCRELDEFINESBYPROPERTIES, false, (id) => {
  const line = api.GetLine(model, id);
  for (const reference of many(line.RelatingPropertyDefinition)) {
    const set = definition(reference.value);
    if (!set || set[1] === null) continue;
    for (const object of many(line.RelatedObjects)) {
      const guid = guidOf.get(object.value);
      if (guid) ((found[set[0]][guid] ??= {})[set[1]] ??= {}), Object.assign(found[set[0]][guid][set[1]], set[2]);
    }
  }
});

api.StreamAllMeshes(model, (mesh) => {
  const guid = guidOf.get(mesh.expressID);
  const box = [Infinity, Infinity, Infinity, -Infinity, -Infinity, -Infinity];
  for (let i = 0; i < mesh.geometries.size(); i += 1) {
    const placed = mesh.geometries.get(i);
    if (guid) (found.colors[guid] ??= []).push([placed.color.x, placed.color.y, placed.color.z, placed.color.w]);
    const geometry = api.GetGeometry(model, placed.geometryExpressID);
    const vertices = api.GetVertexArray(geometry.GetVertexData(), geometry.GetVertexDataSize()); // x y z nx ny nz
    const t = placed.flatTransformation;
    for (let v = 0; v < vertices.length; v += 6) {
      const [x, y, z] = [vertices[v], vertices[v + 1], vertices[v + 2]];
      const up = [0, 1, 2].map((row) => t[row] * x + t[row + 4] * y + t[row + 8] * z + t[row + 12]);
      const point = [up[0], -up[2], up[1]]; // from y up to the model's z up
      for (let k = 0; k < 3; k += 1) {
        box[k] = Math.min(box[k], point[k]);
        box[k + 3] = Math.max(box[k + 3], point[k]);
      }
    }
    geometry.delete();
  }
  if (guid && box[0] <= box[3]) found.boxes[guid] = box;
});
process.stdout.write(JSON.stringify(found));
