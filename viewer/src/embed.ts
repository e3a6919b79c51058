/** `city-twin.js`: one file that defines `<city-twin>` in any page. Cesium's workers and assets lie beside it in `cesium/`. */
import { buildModuleUrl } from "@cesium/engine";

(buildModuleUrl as unknown as { setBaseUrl(url: string): void }).setBaseUrl(new URL("./cesium/", import.meta.url).href);

export { CityTwin } from "./city-twin";
export type { FeaturePicked, RunFinished } from "./city-twin";
