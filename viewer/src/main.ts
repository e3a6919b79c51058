/** Entry of the page, small, so that it runs before Cesium is there: server and graphics device are asked at once, what draws comes after. */
import { askEarly } from "./early";
import { probeGraphics } from "./graphics";

const src = document.querySelector("city-twin")?.getAttribute("src");
// A link may ask for the city of another time.
if (src) askEarly(src, location.hash.length > 1 ? ["city"] : ["city", "collections"]);
const page = import("./page");
probeGraphics();
void page;
