// One animation frame for all that changed: however many events arrive, the page is drawn once.

const painters = [];
let asked = false;

/** Adds a function that draws what has changed since its last call. */
export function onFrame(paint) {
  painters.push(paint);
}

let waiting = [];

/** Does these things, one in each frame; what was still to be done of the last call is dropped. */
export function onePerFrame(calls) {
  const idle = waiting.length === 0;
  waiting = [...calls];
  const next = () => {
    waiting.shift()?.();
    if (waiting.length > 0) requestAnimationFrame(next);
  };
  if (idle) requestAnimationFrame(next);
}

/** Draws in the next frame; a hidden page waits until it is seen. */
export function frameSoon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    painters.forEach((paint) => paint());
  });
}
