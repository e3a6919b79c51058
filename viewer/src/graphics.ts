/** What draws in this browser. Imports no Cesium. */
import type { Machine } from "./core/device";

export interface Graphics {
  renderer: string;
  /** A processor draws, no graphics device. */
  software: boolean;
}

let found: Graphics | null = null;

/** WebGL 2 there, and how it is drawn; null when there is none. Asked once: a context that only looks costs as much as one that draws. */
export function probeGraphics(): Graphics | null {
  found ??= probe();
  return found;
}

function probe(): Graphics | null {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return null;
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return { renderer, software: /swiftshader|llvmpipe|software|basic render/i.test(renderer) };
}

/** The machine as this page sees it. */
export function thisMachine(software: boolean, element: { clientWidth: number; clientHeight: number }): Machine {
  const memory = (navigator as { deviceMemory?: number }).deviceMemory;
  return {
    software, width: element.clientWidth, height: element.clientHeight, ratio: window.devicePixelRatio || 1,
    coarsePointer: window.matchMedia("(pointer: coarse)").matches, ...(memory === undefined ? {} : { memory }),
  };
}
