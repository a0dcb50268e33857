// Pointer and wheel in the timeline: drag moves, the wheel and two fingers zoom, the strip selects.

import { STRIP } from "./paint.js";

/** So many pixels make a click a drag. */
const SLOP = 4;

export function startPointer(timeline) {
  const { box, scale, painter } = timeline;
  const fingers = new Map();
  let drag;

  // The canvas fills the box, so both give the same place.
  const place = (event) => ({ x: event.offsetX, y: event.offsetY });
  const inStrip = ({ y }) => y > box.clientHeight - STRIP;
  const stripUs = (x) => {
    const { first: from, last: to } = scale;
    return from + ((x - scale.left) / scale.width) * (to - from);
  };

  /** What of the strip's window is held: an edge, or all of it. */
  const gripOf = (x) => {
    const { left, right } = painter.window;
    if (Math.abs(x - left) < 7) return "left";
    if (Math.abs(x - right) < 7) return "right";
    return x > left && x < right ? "all" : "new";
  };

  const startStrip = (at) => {
    const grip = gripOf(at.x);
    const width = scale.to - scale.from;
    if (grip === "new") scale.show(stripUs(at.x) - width / 2, stripUs(at.x) + width / 2);
    return {
      kind: "strip",
      grip: grip === "new" ? "all" : grip,
      x: at.x,
      from: scale.from,
      to: scale.to,
    };
  };

  const moveStrip = (at) => {
    const by = stripUs(at.x) - stripUs(drag.x);
    if (drag.grip === "all") return scale.show(drag.from + by, drag.to + by);
    // One edge is moved and the other one stays where it is, also where the history ends.
    const fixed = drag.grip === "left" ? drag.to : drag.from;
    const edge = Math.max(stripUs(at.x), Math.min(scale.first, drag.from));
    const from = Math.min(fixed, edge);
    return scale.show(from, Math.min(Math.max(fixed, edge), scale.end(scale.last - from)));
  };

  const pinch = () => {
    const [a, b] = [...fingers.values()];
    const size = Math.max(10, Math.hypot(a.x - b.x, a.y - b.y));
    if (drag.size) scale.zoom(drag.size / size, (a.x + b.x) / 2);
    drag.size = size;
  };

  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const at = place(event);
    fingers.set(event.pointerId, at);
    box.setPointerCapture(event.pointerId);
    if (fingers.size > 1) drag = { kind: "pinch" };
    else if (inStrip(at) && painter.window) drag = startStrip(at);
    else drag = { kind: "lanes", ...at, from: scale.from, to: scale.to, scroll: timeline.scroll };
    timeline.next();
  });

  box.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at);
    if (!drag) {
      timeline.hover(painter.hit(at.x, at.y), event.clientX, event.clientY);
      return;
    }
    if (drag.kind === "pinch") pinch();
    else if (drag.kind === "strip") moveStrip(at);
    else {
      const [dx, dy] = [at.x - drag.x, at.y - drag.y];
      drag.moved ||= Math.hypot(dx, dy) > SLOP;
      if (!drag.moved) return;
      box.classList.add("dragging");
      timeline.hover(undefined);
      const by = (-dx / scale.width) * (drag.to - drag.from);
      scale.show(drag.from + by, drag.to + by);
      timeline.scroll = drag.scroll - dy;
    }
    timeline.next();
  });

  const end = (event) => {
    fingers.delete(event.pointerId);
    if (!drag) return;
    const clicked = drag.kind === "lanes" && !drag.moved && event.type === "pointerup";
    // After a pinch, a finger that stays moves nothing.
    drag = undefined;
    box.classList.remove("dragging");
    const at = place(event);
    if (clicked) timeline.openSpan(painter.hit(at.x, at.y));
  };
  box.addEventListener("pointerup", end);
  box.addEventListener("pointercancel", end);
  box.addEventListener("pointerleave", () => timeline.hover(undefined));

  box.addEventListener(
    "wheel",
    (event) => {
      if (event.altKey || event.metaKey) return;
      event.preventDefault();
      const at = place(event);
      const unit = event.deltaMode === 1 ? 16 : 1;
      const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
      const sideways = event.shiftKey ? dx || dy : Math.abs(dx) > Math.abs(dy) && dx;
      if (sideways) scale.pan((sideways / scale.width) * (scale.to - scale.from));
      else if (at.x < scale.left && !inStrip(at)) timeline.scroll += dy;
      else scale.zoom(Math.exp(Math.max(-120, Math.min(120, dy)) * 0.003), at.x);
      timeline.hover(undefined);
      timeline.next();
    },
    { passive: false },
  );

  box.addEventListener("dblclick", (event) => {
    const at = place(event);
    if (!inStrip(at)) scale.zoom(0.4, at.x);
    else scale.showAll();
    timeline.next();
  });
}
