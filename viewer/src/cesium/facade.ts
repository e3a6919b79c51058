/**
 * How plain blocks look like buildings: faint lines at each storey on the walls, roofs a little lighter, walls a little darker
 * towards the ground. All in the shader, so the tiles stay small.
 */
import { Cartesian3, CustomShader, Ellipsoid, LightingModel, UniformType, type CesiumWidget } from "@cesium/engine";

/** Metres between storey lines; the usual storey of housing. */
const STOREY = 3;

const FRAGMENT = `
void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material)
{
    vec3 up = normalize((czm_view * vec4(u_up, 0.0)).xyz);
    vec3 position = fsInput.attributes.positionEC;
    vec3 normal = normalize(fsInput.attributes.normalEC);
    float wall = 1.0 - smoothstep(0.25, 0.7, abs(dot(normal, up)));

    // Height from the camera's own height: ECEF positions are too coarse in 32 bits. The earth curves away below the tangent plane.
    float rise = dot(position, up);
    float away = length(position - rise * up);
    float height = u_eye + rise + away * away / 12742000.0;

    // A storey line is drawn only where it is wider than a pixel's share of the wall, so distant walls do not shimmer.
    float pixel = max(fwidth(height), 1e-4);
    float phase = fract(height / ${STOREY.toFixed(1)});
    float near = min(phase, 1.0 - phase) * ${STOREY.toFixed(1)};
    float line = (1.0 - smoothstep(0.10, 0.10 + pixel, near)) * (1.0 - smoothstep(0.35, 1.3, pixel));
    // Windows: a darker band in the middle of the storey, seen only from near.
    float band = smoothstep(0.28, 0.34, phase) * (1.0 - smoothstep(0.78, 0.84, phase)) * (1.0 - smoothstep(0.15, 0.6, pixel));

    material.diffuse *= mix(1.06, 1.0 - 0.13 * line - 0.10 * band, wall);
    material.roughness = 1.0;
    material.specular = vec3(0.02);
}
`;

/**
 * Brings the surface nearer to the eye by a share of its distance: the picture stays where it was, and of two walls in one place
 * this one is seen. Corners keep together, which they would not if faces moved along their normals.
 */
const VERTEX = `
void vertexMain(VertexInput vsInput, inout czm_modelVertexOutput vsOutput)
{
    vec3 eye = (czm_inverseModelView * vec4(0.0, 0.0, 0.0, 1.0)).xyz;
    vsOutput.positionMC = mix(vsInput.attributes.positionMC, eye, 0.0012);
}
`;

/**
 * One shader for all block layers; its camera height follows the scene.
 * @param over drawn over what stands in the same place.
 */
export function facadeShader(widget: CesiumWidget, over: boolean): CustomShader {
  const shader = new CustomShader({
    lightingModel: LightingModel.PBR,
    uniforms: {
      u_up: { type: UniformType.VEC3, value: new Cartesian3(0, 0, 1) },
      u_eye: { type: UniformType.FLOAT, value: 0 },
    },
    ...(over ? { vertexShaderText: VERTEX } : {}),
    fragmentShaderText: FRAGMENT,
  });
  const up = new Cartesian3();
  widget.scene.preRender.addEventListener(() => {
    const { camera } = widget;
    Ellipsoid.WGS84.geodeticSurfaceNormal(camera.positionWC, up);
    shader.setUniform("u_up", up);
    shader.setUniform("u_eye", camera.positionCartographic.height);
  });
  return shader;
}
