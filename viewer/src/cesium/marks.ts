/** Outline of a picked feature of a draped layer, and a pin where the reader clicked. */
import {
  ArcType, Cartesian3, Color, HeightReference, type CesiumWidget, type Entity,
} from "@cesium/engine";
import type { Geometry } from "../api/types";
import type { Place } from "./pick";
import { PICKED } from "./tilesets";

type Position = [number, number, number?];

export class Marks {
  private outline: Entity[] = [];
  private pin: Entity | null = null;

  constructor(private readonly widget: CesiumWidget) {}

  showPin(place: Place | null): void {
    if (this.pin) this.widget.entities.remove(this.pin);
    this.pin = place && this.widget.entities.add({
      position: Cartesian3.fromDegrees(place.lon, place.lat, place.height),
      point: {
        pixelSize: 9, color: Color.WHITE, outlineColor: Color.fromCssColorString(PICKED), outlineWidth: 3,
        disableDepthTestDistance: Number.POSITIVE_INFINITY,
      },
    });
    this.widget.scene.requestRender();
  }

  showOutline(geometry: Geometry | null): void {
    for (const entity of this.outline) this.widget.entities.remove(entity);
    this.outline = geometry ? this.draw(geometry) : [];
    this.widget.scene.requestRender();
  }

  private draw(geometry: Geometry): Entity[] {
    const coordinates = geometry.coordinates as never;
    switch (geometry.type) {
      case "Point": return [this.point(coordinates)];
      case "MultiPoint": return (coordinates as Position[]).map((position) => this.point(position));
      case "LineString": return [this.line(coordinates, 6)];
      case "MultiLineString": return (coordinates as Position[][]).map((line) => this.line(line, 6));
      case "Polygon": return (coordinates as Position[][]).map((ring) => this.line(ring, 4));
      case "MultiPolygon": return (coordinates as Position[][][]).flat().map((ring) => this.line(ring, 4));
      case "GeometryCollection": return (geometry.geometries ?? []).flatMap((part) => this.draw(part));
      default: return [];
    }
  }

  private line(positions: Position[], width: number): Entity {
    return this.widget.entities.add({
      polyline: {
        positions: positions.map(([lon, lat]) => Cartesian3.fromDegrees(lon, lat)),
        width,
        clampToGround: true,
        arcType: ArcType.GEODESIC,
        material: Color.fromCssColorString(PICKED).withAlpha(0.9),
      },
    });
  }

  private point([lon, lat]: Position): Entity {
    return this.widget.entities.add({
      position: Cartesian3.fromDegrees(lon, lat),
      point: {
        pixelSize: 13, color: Color.fromCssColorString(PICKED).withAlpha(0.85), outlineColor: Color.WHITE, outlineWidth: 2,
        heightReference: HeightReference.CLAMP_TO_GROUND, disableDepthTestDistance: Number.POSITIVE_INFINITY,
      },
    });
  }
}
