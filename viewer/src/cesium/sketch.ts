/** What the reader draws: corners, lines, rings and labels over the city. One sketch at a time; notes stay. */
import {
  ArcType, Cartesian2, Cartesian3, ClassificationType, Color, HorizontalOrigin, LabelStyle, PolygonHierarchy, VerticalOrigin, type CesiumWidget, type Entity,
} from "@cesium/engine";
import type { Place } from "./pick";

const INK = Color.fromCssColorString("#0b63a5");
const GOOD = Color.fromCssColorString("#1c7048");
const BAD = Color.fromCssColorString("#c3281c");
const FONT = '600 13px "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", system-ui, sans-serif';

export interface Drawing {
  spots: readonly Place[];
  closed?: boolean;
  /** Draped on ground and buildings instead of straight through the air. */
  draped?: boolean;
  /** Rings beside the line: a corridor. */
  rings?: readonly (readonly { lon: number; lat: number }[])[];
  labels?: readonly { at: Place; text: string }[];
  /** A second line with its verdict: what one sees and what not. */
  rays?: readonly { from: Place; to: Place; good: boolean }[];
}

export class Sketch {
  private entities: Entity[] = [];

  constructor(private readonly widget: CesiumWidget) {}

  /** Replaces what was drawn; null clears. */
  draw(drawing: Drawing | null): void {
    for (const entity of this.entities) this.widget.entities.remove(entity);
    this.entities = [];
    if (drawing) {
      this.line(drawing);
      for (const ring of drawing.rings ?? []) this.ring(ring);
      for (const ray of drawing.rays ?? []) this.straight([ray.from, ray.to], ray.good ? GOOD : BAD);
      for (const spot of drawing.spots) this.corner(spot);
      for (const { at, text } of drawing.labels ?? []) this.label(at, text);
    }
    this.widget.scene.requestRender();
  }

  private add(options: Entity.ConstructorOptions): void {
    this.entities.push(this.widget.entities.add(options));
  }

  private line({ spots, closed, draped }: Drawing): void {
    if (spots.length < 2) return;
    if (closed && spots.length > 2) this.ring(spots);
    else if (draped) {
      this.add({ polyline: { positions: spots.map(toCartesian), width: 4, clampToGround: true, arcType: ArcType.GEODESIC, material: INK } });
    } else this.straight(spots, INK);
  }

  private straight(spots: readonly Place[], color: Color): void {
    this.add({ polyline: { positions: spots.map(toCartesian), width: 4, arcType: ArcType.NONE, material: color, depthFailMaterial: color.withAlpha(0.45) } });
  }

  private ring(spots: readonly { lon: number; lat: number }[]): void {
    const positions = spots.map(({ lon, lat }) => Cartesian3.fromDegrees(lon, lat));
    this.add({ polygon: { hierarchy: new PolygonHierarchy(positions), material: INK.withAlpha(0.22), classificationType: ClassificationType.BOTH } });
    this.add({ polyline: { positions: [...positions, positions[0]!], width: 3, clampToGround: true, material: INK } });
  }

  private corner(spot: Place): void {
    this.add({
      position: toCartesian(spot),
      point: { pixelSize: 8, color: Color.WHITE, outlineColor: INK, outlineWidth: 3, disableDepthTestDistance: Number.POSITIVE_INFINITY },
    });
  }

  private label(at: Place, text: string): void {
    this.add({
      position: toCartesian(at),
      label: {
        text, font: FONT, fillColor: Color.WHITE, style: LabelStyle.FILL, showBackground: true, backgroundColor: INK.withAlpha(0.92), backgroundPadding: new Cartesian2(7, 4),
        pixelOffset: new Cartesian2(0, -16), horizontalOrigin: HorizontalOrigin.CENTER, verticalOrigin: VerticalOrigin.BOTTOM,
        disableDepthTestDistance: Number.POSITIVE_INFINITY,
      },
    });
  }
}

const toCartesian = ({ lon, lat, height }: Place): Cartesian3 => Cartesian3.fromDegrees(lon, lat, height);
