// Drawing in animation frames. What a person moves is drawn in the next frame. Of the rest, each
// frame draws one part: the work of the browser after a part (style, layout, paint) takes longer
// than the part itself, and the parts of one frame add up.

/** So long does the rest wait at most while a person moves something, in ms. */
const PATIENCE_MS = 120;

const moved = new Set();
const waiting = new Set();
let asked = false;
let restAt = 0;

/**
 * Calls `draw` in a frame soon; a hidden page waits until it is seen. A part that had nothing to
 * draw returns false: then its frame is another one's.
 */
export function drawSoon(draw) {
  waiting.add(draw);
  ask();
}

/** Calls `draw` in the next frame. */
export function drawNext(draw) {
  moved.add(draw);
  ask();
}

function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(frame);
}

function frame(time) {
  asked = false;
  if (moved.size === 0 || (waiting.size > 0 && time - restAt > PATIENCE_MS)) {
    restAt = time;
    drawOne();
  } else {
    const draws = [...moved];
    moved.clear();
    draws.forEach((draw) => {
      waiting.delete(draw);
      draw();
    });
  }
  if (waiting.size + moved.size > 0) ask();
}

function drawOne() {
  for (const draw of waiting) {
    waiting.delete(draw);
    if (draw() !== false) return;
  }
}
