// One animation frame for all that changed: however many events arrive, the page is drawn once.

const painters = [];
let asked = false;

/** Adds a function that draws what has changed since its last call. */
export function onFrame(paint) {
  painters.push(paint);
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
