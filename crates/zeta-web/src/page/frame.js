// Drawing in animation frames. What a person moves is drawn in the next frame. Of the rest, each
// frame draws one part: the work of the browser after a part (style, layout, paint) takes longer
// than the part itself, and the parts of one frame add up.

/** So long does the rest wait at most while a person moves something, in ms. */
const PATIENCE_MS = 120;

/** A frame longer than the first, in ms, halves what the next may do; a shorter one adds to it. */
const [LONG_MS, SHORT_MS] = [9, 6];
const ROWS_MAX = 8;

const moved = new Set();
const waiting = new Set();
let asked = false;
let restAt = 0;
let began = 0;
let rows = 4;

/** How many rows may come into being in one frame, as the browser kept up with the last ones. */
export const newRowsMax = () => rows;

// A message is handled after the frame that sends it: after style, layout and paint.
const after = new MessageChannel();
after.port1.onmessage = () => {
  const took = performance.now() - began;
  if (took > LONG_MS) rows = Math.max(1, Math.floor(rows / 2));
  else if (took < SHORT_MS) rows = Math.min(ROWS_MAX, rows + 1);
};

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
  began = performance.now();
  after.port2.postMessage(0);
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
