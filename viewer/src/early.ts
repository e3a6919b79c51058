/** What the first look will ask of the server, asked while Cesium is still being read. Each answer is handed out once; what nobody fetches is let go. */
const asked = new Map<string, Promise<Response>>();

/** @param src where the API lives, relative to the page, as `<city-twin src>` has it. */
export function askEarly(src: string, paths: readonly string[]): void {
  const base = new URL(src, document.baseURI).href;
  for (const path of paths) {
    const url = base + path;
    const answer = fetch(url, { headers: { Accept: "application/json" } });
    // Its failure is that of whoever fetches it.
    answer.catch(() => undefined);
    asked.set(url, answer);
  }
}

/** `fetch`, or the answer that is on its way already. */
export function earlyFetch(url: string, init?: RequestInit): Promise<Response> {
  const answer = asked.get(url);
  asked.delete(url);
  return answer ?? fetch(url, init);
}
