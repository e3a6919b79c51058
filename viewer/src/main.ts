/** Entry of the page, small, so that it runs before Cesium is there: the server is asked at once, what draws comes after. */
import { askEarly } from "./early";

const src = document.querySelector("city-twin")?.getAttribute("src");
// A link may ask for the city of another time.
if (src) askEarly(src, location.hash.length > 1 ? ["city"] : ["city", "collections"]);
void import("./page");
