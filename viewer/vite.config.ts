/** Build of the viewer: relative base (it is served under /viewer/), Cesium's static files copied beside it. */
import { cpSync, createReadStream, existsSync, statSync } from "node:fs";
import { dirname, extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build, defineConfig, type Plugin } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const engine = resolve(here, "node_modules/@cesium/engine");

/** URL folder below `cesium/` → folder in the package. Cesium finds them through `buildModuleUrl`. */
const STATIC: Record<string, string> = {
  Assets: join(engine, "Source/Assets"),
  Workers: join(engine, "Build/Workers"),
  ThirdParty: join(engine, "Build/ThirdParty"),
};
/** Workers of the first picture: each made one file, where Cesium's build has twenty that are fetched one by one. */
const WORKERS = ["createVerticesFromQuantizedTerrainMesh", "upsampleQuantizedTerrainMesh"];
/** Files that only Cesium's own example widgets use. */
const UNUSED = ["LensFlare", "maki", "google_earth_credit.png", "bing_maps_credit.png", "pin.svg"];

const MIME: Record<string, string> = {
  ".js": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".xml": "application/xml",
};

function cesiumStatic(): Plugin {
  return {
    name: "cesium-static",
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const match = /^\/cesium\/([^/]+)\/([^?]+)/.exec(request.url ?? "");
        const folder = match?.[1] ? STATIC[match[1]] : undefined;
        const file = folder ? normalize(join(folder, decodeURIComponent(match?.[2] ?? ""))) : "";
        if (!folder || !file.startsWith(folder) || !existsSync(file) || !statSync(file).isFile()) return next();
        response.setHeader("Content-Type", MIME[extname(file)] ?? "application/octet-stream");
        createReadStream(file).pipe(response);
      });
    },
    async closeBundle() {
      for (const [name, folder] of Object.entries(STATIC)) {
        if (!existsSync(folder)) throw new Error(`${folder} is missing: run "npm ci" in viewer/ first`);
        cpSync(folder, join(here, "dist/cesium", name), {
          recursive: true,
          filter: (source) => !UNUSED.some((part) => source.endsWith(part)),
        });
      }
      for (const name of WORKERS) {
        const entry = join(engine, "Build/Workers", `${name}.js`);
        await build({
          configFile: false, logLevel: "error", publicDir: false,
          build: {
            outDir: join(here, "dist/cesium/Workers"), emptyOutDir: false, target: "es2022",
            lib: { entry, formats: ["es"], fileName: () => `${name}.js` }, rollupOptions: { output: { codeSplitting: false } },
          } as object,
        });
      }
    },
  };
}

/** Lets the browser fetch what the entry is going to import while it still reads the entry. */
function preload(): Plugin {
  return {
    name: "preload-page",
    transformIndexHtml: {
      order: "post",
      handler: (_, { bundle }) => Object.values(bundle ?? {}).flatMap((file) => (file.type === "chunk" && /^(page|cesium)$/.test(file.name)
        ? [{ tag: "link", attrs: { rel: "modulepreload", crossorigin: true, href: `./${file.fileName}` }, injectTo: "head" as const }] : [])),
    },
  };
}

const api = process.env["TWIN_API"] ?? "http://127.0.0.1:8000";
const apiPaths = ["/collections", "/search", "/position", "/city", "/tiles3d", "/terrain", "/map", "/processes", "/jobs"];

export default defineConfig({
  base: "./",
  plugins: [cesiumStatic(), preload()],
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    chunkSizeWarningLimit: 6000,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        // Cesium changes rarely and is large: its own file stays in the browser's cache over our releases.
        // ECharts is not in it: it comes with the first chart.
        // The helper that imports lazily stands alone: the entry needs it, and must not wait for Cesium.
        manualChunks: (id: string) => (id.includes("preload-helper") ? "lazy" : id.includes("node_modules/") && !/\/lit|echarts|zrender|tslib/.test(id) ? "cesium" : undefined),
      },
    },
  },
  server: { proxy: Object.fromEntries(apiPaths.map((path) => [path, api])) },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);
