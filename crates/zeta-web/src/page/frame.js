// Drawing in animation frames: however often a part asks, it is drawn once, and a frame that has
// taken its time leaves the rest to the next one.

/** So long may parts draw in one frame, in ms; the browser needs some of it, too. */
const BUDGET_MS = 3;

const waiting = new Set();
let asked = false;

/** Calls `draw` in a frame soon; a hidden page waits until it is seen. */
export function drawSoon(draw) {
  waiting.add(draw);
  if (asked) return;
  asked = true;
  requestAnimationFrame(frame);
}

function frame() {
  const end = performance.now() + BUDGET_MS;
  for (const draw of waiting) {
    waiting.delete(draw);
    draw();
    if (performance.now() > end) break;
  }
  asked = waiting.size > 0;
  if (asked) requestAnimationFrame(frame);
}
