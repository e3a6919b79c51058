/** Two scenes with one camera: whichever the reader moves, the other follows in the same frame. */
import { Cartesian3, type CesiumWidget } from "@cesium/engine";

interface Stand {
  position: Cartesian3;
  direction: Cartesian3;
  up: Cartesian3;
}

/** A millimetre of place and a millionth of direction: less is the rounding of having been set. */
const SAME = { metres: 1e-3, turn: 1e-6 };

/** Ties two cameras; `b` takes the view of `a` at once. Call the answer to let them go. */
export function tie(a: CesiumWidget, b: CesiumWidget): () => void {
  let last = standOf(a);
  const follow = (from: CesiumWidget, to: CesiumWidget) => () => {
    if (from.isDestroyed() || to.isDestroyed()) return;
    const now = standOf(from);
    if (same(now, last)) return;
    last = now;
    put(to, now);
  };
  put(b, last);
  const off = [a.scene.preUpdate.addEventListener(follow(a, b)), b.scene.preUpdate.addEventListener(follow(b, a))];
  return () => { for (const one of off) one(); };
}

function standOf({ camera }: CesiumWidget): Stand {
  return { position: camera.positionWC.clone(), direction: camera.directionWC.clone(), up: camera.upWC.clone() };
}

function same(a: Stand, b: Stand): boolean {
  return Cartesian3.equalsEpsilon(a.position, b.position, 0, SAME.metres) && Cartesian3.equalsEpsilon(a.direction, b.direction, 0, SAME.turn)
    && Cartesian3.equalsEpsilon(a.up, b.up, 0, SAME.turn);
}

function put(widget: CesiumWidget, { position, direction, up }: Stand): void {
  widget.camera.setView({ destination: position, orientation: { direction, up } });
  widget.scene.requestRender();
}
