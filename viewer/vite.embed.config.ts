/** Build of `dist/city-twin.js`, the element for other people's pages, beside what vite.config.ts has built. */
import { defineConfig } from "vite";

export default defineConfig({
  publicDir: false,
  build: {
    outDir: "dist",
    emptyOutDir: false,
    target: "es2022",
    chunkSizeWarningLimit: 6000,
    lib: { entry: "src/embed.ts", formats: ["es"], fileName: () => "city-twin.js" },
    rollupOptions: { output: { codeSplitting: false } },
  },
} as Parameters<typeof defineConfig>[0]);
