/** The viewer's page: tells Cesium where its files lie, defines `<city-twin>`, hands out `window.twin`. */
import { buildModuleUrl } from "@cesium/engine";
import type { TwinHandle } from "./twin-handle";
import "./city-twin";
import type { CityTwin } from "./city-twin";

declare global {
  interface Window {
    /** The first `<city-twin>` of the page; see TwinHandle. */
    twin?: TwinHandle;
  }
}

// In the build this file lies in dist/assets/ and Cesium's files in dist/cesium/; in development both hang off the root.
const home = import.meta.env.DEV ? new URL("/cesium/", location.href) : new URL("../cesium/", import.meta.url);
(buildModuleUrl as unknown as { setBaseUrl(url: string): void }).setBaseUrl(home.href);

const element = document.querySelector<CityTwin>("city-twin");
if (element) {
  const asked = new URLSearchParams(location.search);
  const quality = asked.get("quality");
  const layout = asked.get("layout");
  if (layout === "wall" || layout === "bare") element.layout = layout;
  if (quality === "high" || quality === "low") element.quality = quality;
  void element.started().then((handle) => { window.twin = handle; });
}
