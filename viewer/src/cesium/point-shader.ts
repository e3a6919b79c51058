/**
 * Colours of a point cloud by its legend. A shader, not a 3D Tiles style: styles know no heights, and in tiles whose points carry intensities
 * (property attributes) Cesium's styles cannot read the class table.
 */
import { Cartesian3, CustomShader, Ellipsoid, LightingModel, UniformType, type CesiumWidget } from "@cesium/engine";
import type { Legend } from "../api/types";
import { CLASS, INTENSITY } from "../core/points";
import { OTHER } from "../core/thematic";

/** A number as GLSL writes it. */
const float = (value: number): string => (Number.isInteger(value) ? value.toFixed(1) : String(value));

function colour(hex: string): string {
  const [red, green, blue] = [1, 3, 5].map((i) => float(Math.round((parseInt(hex.slice(i, i + 2), 16) / 255) * 1e4) / 1e4));
  return `vec3(${red}, ${green}, ${blue})`;
}

/** Height above the ellipsoid as `facade` has it: from the camera's own, for ECEF positions are too coarse in 32 bits. */
const HEIGHT_OF = `
    vec3 up = normalize((czm_view * vec4(u_up, 0.0)).xyz);
    float rise = dot(fsInput.attributes.positionEC, up);
    float away = length(fsInput.attributes.positionEC - rise * up);
    float value = u_eye + rise + away * away / 12742000.0;`;

/** The shader's text; each stop of a ramp is mixed over those before it, each class is a row of the tiles' table. */
export function pointShaderText(column: string, legend: Legend): string {
  const entries = legend.entries ?? [];
  const value = column === CLASS ? "float value = float(fsInput.featureIds.featureId_0);" : column === INTENSITY ? "float value = fsInput.attributes.intensity;" : HEIGHT_OF;
  const steps = entries.map((entry, i) => {
    if (column === CLASS) return `if (abs(value - ${float(i)}) < 0.5) shown = ${colour(entry.color)};`;
    if (i === 0) return `shown = ${colour(entry.color)};`;
    const [from, to] = [Number(entries[i - 1]!.value), Number(entry.value)];
    return `shown = mix(shown, ${colour(entry.color)}, clamp((value - ${float(from)}) / ${float(Math.max(1e-6, to - from))}, 0.0, 1.0));`;
  });
  return `void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material)
{
    ${value}
    vec3 shown = ${colour(OTHER)};
    ${steps.join("\n    ")}
#ifdef HAS_POINT_CLOUD_COLOR_STYLE
    material.diffuse = shown; // with a style (an opacity) Cesium leaves colours as they are
#else
    material.diffuse = czm_srgbToLinear(shown);
#endif
}`;
}

export interface Painted {
  shader: CustomShader;
  /** Lets go of the scene; the tileset does not destroy a shader that it was given. */
  release: () => void;
}

export function pointShader(widget: CesiumWidget, column: string, legend: Legend): Painted {
  const shader = new CustomShader({
    lightingModel: LightingModel.UNLIT,
    uniforms: { u_up: { type: UniformType.VEC3, value: new Cartesian3(0, 0, 1) }, u_eye: { type: UniformType.FLOAT, value: 0 } },
    fragmentShaderText: pointShaderText(column, legend),
  });
  const up = new Cartesian3();
  const off = widget.scene.preRender.addEventListener(() => {
    Ellipsoid.WGS84.geodeticSurfaceNormal(widget.camera.positionWC, up);
    shader.setUniform("u_up", up);
    shader.setUniform("u_eye", widget.camera.positionCartographic.height);
  });
  return { shader, release: () => { off(); if (!shader.isDestroyed()) shader.destroy(); } };
}
