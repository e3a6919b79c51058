/** Waves and glint over the drawn water bodies, where the machine can: the colour stays the layer's own, so what lies below still shows. */
import {
  buildModuleUrl, Cartesian3, ClassificationType, Color, EllipsoidSurfaceAppearance, GeometryInstance, GroundPrimitive, Material, PolygonGeometry,
  PolygonHierarchy, Rectangle, type CesiumWidget,
} from "@cesium/engine";
import type { Feature } from "../api/types";

type Ring = [number, number, number?][];

/** Bodies that get waves, the largest first; of smaller ones one sees no wave. */
const MOST = 60;
/** Metres from crest to crest, as the picture of the waves is laid out. */
const WAVE = 30;
const EARTH_RADIUS = 6_371_000;

export class Water {
  private readonly layers = new Map<string, GroundPrimitive[]>();

  constructor(private readonly widget: CesiumWidget) {}

  /** Lays waves over a layer's areas; without areas, takes them away. */
  set(layer: string, features: readonly Feature[], color: string): void {
    this.clear(layer);
    if (!GroundPrimitive.supportsMaterials(this.widget.scene)) return;
    const bodies = features.flatMap(areasOf).map((rings) => ({ rings, box: Rectangle.fromCartesianArray(rings[0]!.map(at)) }));
    bodies.sort((a, b) => b.box.width * b.box.height - a.box.width * a.box.height);
    const primitives = bodies.slice(0, MOST).map(({ rings, box }) => {
      const [outer, ...holes] = rings.map((ring) => ring.map(at));
      const geometry = new PolygonGeometry({ polygonHierarchy: new PolygonHierarchy(outer!, holes.map((hole) => new PolygonHierarchy(hole))) });
      return this.widget.scene.primitives.add(new GroundPrimitive({
        geometryInstances: new GeometryInstance({ geometry }),
        appearance: new EllipsoidSurfaceAppearance({ aboveGround: false, material: waves(color, Math.max(box.width, box.height) * EARTH_RADIUS) }),
        classificationType: ClassificationType.TERRAIN,
        allowPicking: false,
      }), 0) as GroundPrimitive;
    });
    if (primitives.length > 0) this.layers.set(layer, primitives);
    this.widget.scene.requestRender();
  }

  clear(layer: string): void {
    for (const primitive of this.layers.get(layer) ?? []) this.widget.scene.primitives.remove(primitive);
    if (this.layers.delete(layer)) this.widget.scene.requestRender();
  }

  /** A flood is shown by its own colours: under it, waves would say something else. */
  show(shown: boolean): void {
    for (const primitive of [...this.layers.values()].flat()) primitive.show = shown;
  }
}

const at = ([lon, lat]: [number, number, number?]): Cartesian3 => Cartesian3.fromDegrees(lon, lat);

function areasOf({ geometry }: Feature): Ring[][] {
  if (geometry?.type === "Polygon") return [geometry.coordinates as Ring[]];
  return geometry?.type === "MultiPolygon" ? (geometry.coordinates as Ring[][]) : [];
}

function waves(color: string, across: number): Material {
  const base = Color.fromCssColorString(color).withAlpha(0.32);
  return Material.fromType("Water", {
    baseWaterColor: base, blendColor: base, normalMap: buildModuleUrl("Assets/Textures/waterNormals.jpg"),
    frequency: Math.max(1, across / WAVE), animationSpeed: 0.012, amplitude: 4, specularIntensity: 0.6,
  });
}
