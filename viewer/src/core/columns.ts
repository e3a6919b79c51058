/** Names of attributes that most deliveries carry, for columns whose source gives no title in the reader's language. */
import type { Bilingual } from "../api/types";

const COMMON: Record<string, readonly [zh: string, en: string]> = {
  name: ["名称", "Name"], name_zh: ["中文名称", "Chinese name"], name_en: ["英文名称", "English name"],
  use: ["用途", "Use"], use_zh: ["用途（中文）", "Use (Chinese)"], use_en: ["用途（英文）", "Use (English)"],
  height: ["高度", "Height"], height_from: ["高度来源", "Height taken from"], base: ["底面高程", "Base level"],
  ground: ["地面高程", "Ground level"], floors: ["层数", "Floors"], storeys: ["层数", "Storeys"],
  floor_area: ["建筑面积", "Floor area"], area: ["面积", "Area"], length: ["长度", "Length"], width: ["宽度", "Width"],
  dwellings: ["户数", "Dwellings"], population: ["人口", "Population"], year: ["建成年份", "Year built"],
  structure: ["结构类型", "Structure"], roof: ["屋顶形式", "Roof"], address: ["地址", "Address"], address_en: ["英文地址", "Address (English)"],
  class: ["类别", "Class"], type: ["类型", "Type"], kind: ["种类", "Kind"], category: ["分类", "Category"], code: ["代码", "Code"],
  lanes: ["车道数", "Lanes"], speed: ["限速", "Speed limit"], oneway: ["单行", "One-way"], bridge: ["桥梁", "Bridge"],
  level: ["水位", "Level"], warning_level: ["警戒水位", "Warning level"], design_level: ["设计水位", "Design level"],
  depth: ["水深", "Depth"], invert: ["管底高程", "Invert level"], diameter: ["管径", "Diameter"], material: ["材质", "Material"],
  species: ["树种", "Species"], crown: ["冠幅", "Crown"], storey: ["楼层", "Storey"], description: ["描述", "Description"],
  global_id: ["全局编号", "GlobalId"], globalid: ["全局编号", "GlobalId"], object_type: ["对象类型", "Object type"], tag: ["标记", "Tag"],
  classification: ["点类别", "Point class"], intensity: ["回波强度", "Intensity"], buildings: ["栋数", "Buildings"], class_zh: ["类别（中文）", "Class (Chinese)"], class_en: ["类别（英文）", "Class (English)"],
  measuredheight: ["测量高度", "Measured height"], storeysaboveground: ["地上层数", "Storeys above ground"], storeysbelowground: ["地下层数", "Storeys below ground"],
  yearofconstruction: ["建成年份", "Year of construction"], yearofdemolition: ["拆除年份", "Year of demolition"], function: ["功能", "Function"], usage: ["用途", "Usage"],
  rooftype: ["屋顶类型", "Roof type"], lod: ["细节层次", "Level of detail"], cim_grade: ["CIM 级别", "CIM grade"],
  status: ["状态", "Status"], owner: ["权属", "Owner"], remark: ["备注", "Remark"], capacity: ["能力", "Capacity"], bim: ["对应 BIM", "BIM model"],
};

/** What usual values of such columns mean: those that readers of this product write, and OpenStreetMap's of roofs. */
const VALUES: Record<string, Record<string, readonly [zh: string, en: string]>> = {
  height_from: { height: ["源数据所载", "the source"], floors: ["按层数推算", "number of floors"], default: ["默认高度", "default"] },
  roof: {
    flat: ["平屋面", "flat"], tile: ["瓦屋面", "tiles"], metal: ["金属屋面", "metal"], green: ["绿化屋面", "green"], gabled: ["双坡屋面", "gabled"],
    hipped: ["四坡屋面", "hipped"], skillion: ["单坡屋面", "skillion"], pyramidal: ["攒尖屋面", "pyramidal"], dome: ["穹顶", "dome"],
  },
};

/** What a value of a column means, or null where it is not a usual one: the reader then sees it as it is. */
export function commonValue(column: string, value: unknown): Bilingual | null {
  const found = VALUES[column.toLowerCase()];
  return typeof value === "string" && found && Object.hasOwn(found, value) ? { zh: found[value]![0], en: found[value]![1] } : null;
}

/** A title for a column by its name alone, or null for a name that is not common. */
export function commonTitle(column: string): Bilingual | null {
  const found = Object.hasOwn(COMMON, column.toLowerCase()) ? COMMON[column.toLowerCase()] : undefined;
  return found ? { zh: found[0], en: found[1] } : null;
}
