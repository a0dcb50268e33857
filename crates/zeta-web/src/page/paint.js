// Painting the timeline. Only lanes and spans on the screen are visited, and what is thinner than a
// pixel is painted once.

import { BAR, GAP, beginOfSpan, endOfSpan } from "./lanes.js";

export const AXIS = 22;
export const STRIP = 38;

const HUES = [214, 28, 152, 270, 342, 188, 52, 98];

/** Colours of theme.css, as the canvas wants them. */
export function paletteOf(element) {
  const probe = element.appendChild(document.createElement("i"));
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const names = [
    "panel",
    "raised",
    "line",
    "edge",
    "text",
    "soft",
    "faint",
    "accent",
    "stuck",
    "collision",
    "live",
  ];
  const colors = Object.fromEntries(names.map((name) => [name, read(name)]));
  const dark = getComputedStyle(probe).colorScheme === "dark" || isDark(colors.panel);
  probe.remove();
  colors.font = getComputedStyle(element).fontFamily;
  colors.hues = HUES.map((hue) => ({
    fill: dark ? `hsl(${hue} 30% 27%)` : `hsl(${hue} 62% 88%)`,
    rim: dark ? `hsl(${hue} 34% 46%)` : `hsl(${hue} 42% 66%)`,
    text: dark ? `hsl(${hue} 55% 90%)` : `hsl(${hue} 60% 22%)`,
  }));
  return colors;
}

const isDark = (color) => Number(color.match(/\d+/)?.[0] ?? 255) < 128;

/** Names keep their colour: the same name has the same one everywhere. */
function hueOf(name = "") {
  let sum = 7;
  for (let i = 0; i < name.length; i += 1) sum = (sum * 31 + name.charCodeAt(i)) >>> 0;
  return sum % HUES.length;
}

/** Letters of scripts whose letters are twice as wide, and signs. */
const WIDE = /[\u1100-\uffff]/;

/** Cuts a text so that it fits; letters are taken as equally wide, which costs no measuring. */
function fitted(text, width, letter = 6.4) {
  const room = Math.floor(width / letter);
  if (!WIDE.test(text)) {
    if (text.length <= room) return text;
    return room < 3 ? "" : `${text.slice(0, room - 1)}…`;
  }
  let [used, cut] = [0, ""];
  for (const each of text) {
    const wide = WIDE.test(each) ? 2 : 1;
    if (used + wide > room) return room < 3 ? "" : `${cut}…`;
    used += wide;
    if (used < room) cut += each;
  }
  return text;
}

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.hits = [];
  }

  resize(width, height) {
    const ratio = globalThis.devicePixelRatio || 1;
    Object.assign(this, { width, height, ratio });
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
  }

  paint({ lanes, scale, scroll, now, colors, focused, hovered, strip }) {
    const context = this.context;
    Object.assign(this, { scale, colors, now, hits: [] });
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.textBaseline = "middle";
    this.axis();
    context.save();
    context.beginPath();
    context.rect(0, AXIS, this.width, this.height - AXIS - STRIP);
    context.clip();
    const bottom = scroll + this.height - AXIS - STRIP;
    for (let at = lanes.at(scroll); at < lanes.list.length; at += 1) {
      const lane = lanes.list[at];
      if (lane.top > bottom) break;
      this.lane(lane, AXIS + lane.top - scroll, lanes.by, focused, hovered);
    }
    this.scrollbar(lanes, scroll);
    context.restore();
    this.nowEdge();
    this.overview(strip);
  }

  axis() {
    const { context, scale, colors } = this;
    context.font = `11px ${colors.font}`;
    const bottom = this.height - STRIP;
    for (const { at, midnight, text } of scale.ticks()) {
      const x = Math.round(scale.x(at)) + 0.5;
      context.strokeStyle = midnight ? colors.edge : colors.line;
      context.beginPath();
      context.moveTo(x, AXIS - 4);
      context.lineTo(x, bottom);
      context.stroke();
      context.fillStyle = colors.faint;
      if (x + 3 < this.width - 20) context.fillText(text, x + 4, AXIS / 2);
    }
  }

  lane(lane, top, by, focused, hovered) {
    const { context, scale, colors } = this;
    context.strokeStyle = colors.line;
    context.beginPath();
    context.moveTo(0, Math.round(top) + 0.5);
    context.lineTo(this.width, Math.round(top) + 0.5);
    context.stroke();
    context.font = `12px ${colors.font}`;
    context.fillStyle = colors.text;
    context.fillText(fitted(lane.label, scale.left - 18, 6.6), 12, top + GAP / 2 + BAR / 2 + 1);
    const marks = [];
    const painted = new Float64Array(lane.rows).fill(-1);
    for (let at = this.firstOf(lane); at < lane.spans.length; at += 1) {
      const span = lane.spans[at];
      const begin = beginOfSpan(span);
      if (begin > scale.to) break;
      const end = endOfSpan(span, this.now);
      if (end < scale.from && span !== focused) continue;
      const x = Math.max(scale.x(begin), scale.left);
      const right = Math.min(Math.max(scale.x(end), x + 2), this.width);
      // All of it lies on a pixel that has its colour already.
      const row = lane.places[at];
      if (right <= painted[row] && span !== focused && span !== hovered) continue;
      painted[row] = Math.max(painted[row], right);
      const y = top + GAP / 2 + 1 + row * (BAR + 1);
      this.bar(span, x, y, right - x, by, span === focused || span === hovered);
      this.collectMarks(span, x, right, y, marks);
    }
    marks.forEach(([sign, x, y]) => this.sign(sign, x, y));
  }

  /** The first span that may reach into the window: those before it have ended, row by row. */
  firstOf(lane) {
    const { from } = this.scale;
    let [low, high] = [0, lane.spans.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (beginOfSpan(lane.spans[middle]) < from) low = middle + 1;
      else high = middle;
    }
    // Of each row, only the last one that began before the window can reach into it.
    const rows = new Set();
    let first = low;
    for (let at = low - 1; at >= 0 && rows.size < lane.rows; at -= 1) {
      if (rows.has(lane.places[at])) continue;
      rows.add(lane.places[at]);
      if (endOfSpan(lane.spans[at], this.now) >= from) first = at;
    }
    return first;
  }

  bar(span, x, y, width, by, strong) {
    const { context, colors } = this;
    const name = by === "lease" ? (span.agent ?? "not known") : span.subject;
    const hue = colors.hues[hueOf(by === "lease" ? span.agent : span.lease)];
    this.hits.push({ x, y, right: x + width, bottom: y + BAR, span });
    context.fillStyle = hue.fill;
    if (width < 5) {
      context.fillStyle = strong ? colors.accent : hue.rim;
      context.fillRect(x, y, width, BAR);
      return;
    }
    const open = !span.ended;
    const vague = span.from === undefined || span.ended === "unrecorded";
    context.beginPath();
    context.roundRect(x + 0.5, y + 0.5, width - 1, BAR - 1, [4, open ? 0 : 4, open ? 0 : 4, 4]);
    context.fill();
    context.strokeStyle = strong ? colors.accent : hue.rim;
    context.lineWidth = strong ? 2 : 1;
    if (vague) context.setLineDash([3, 3]);
    context.stroke();
    context.setLineDash([]);
    context.lineWidth = 1;
    if (width < 26) return;
    const shift = span.began === "taken_over" ? 12 : 6;
    const text = fitted(name, width - shift - 8, 6);
    if (!text) return;
    context.font = `11.5px ${colors.font}`;
    context.fillStyle = hue.text;
    context.fillText(text, x + shift, y + BAR / 2 + 0.5);
  }

  collectMarks(span, x, right, y, marks) {
    const { scale } = this;
    const began = span.began === "taken_over" && span.from >= scale.from;
    const lost = ["taken_over", "broken", "removed"].includes(span.ended) && span.until <= scale.to;
    const last = marks.at(-1);
    const apart = (sign, at) => !last || last[0] !== sign || at - last[1] > 3;
    if (began && apart("taken", x)) marks.push(["taken", x, y]);
    if (lost && apart("lost", right)) marks.push(["lost", right, y]);
  }

  /** A triangle where a lease was taken over, a diamond where a holder lost it. */
  sign(sign, x, y) {
    const { context, colors } = this;
    const middle = y + BAR / 2;
    context.beginPath();
    if (sign === "taken") {
      context.moveTo(x + 1, middle - 5);
      context.lineTo(x + 9, middle);
      context.lineTo(x + 1, middle + 5);
    } else {
      context.moveTo(x - 5, middle);
      context.lineTo(x, middle - 5);
      context.lineTo(x + 5, middle);
      context.lineTo(x, middle + 5);
    }
    context.closePath();
    context.fillStyle = sign === "taken" ? colors.collision : colors.stuck;
    context.fill();
    context.strokeStyle = colors.panel;
    context.stroke();
  }

  scrollbar(lanes, scroll) {
    const room = this.height - AXIS - STRIP;
    if (lanes.height <= room) return;
    const size = Math.max(18, (room * room) / lanes.height);
    const top = AXIS + (scroll / (lanes.height - room)) * (room - size);
    this.context.fillStyle = this.colors.edge;
    this.context.beginPath();
    this.context.roundRect(this.width - 7, top + 1, 4, size - 2, 2);
    this.context.fill();
  }

  nowEdge() {
    const { context, scale, colors } = this;
    const x = Math.round(scale.x(this.now)) + 0.5;
    if (x < scale.left || x > this.width) return;
    context.strokeStyle = colors.accent;
    context.fillStyle = colors.accent;
    context.beginPath();
    context.moveTo(x, AXIS - 6);
    context.lineTo(x, this.height - STRIP);
    context.stroke();
    context.beginPath();
    context.arc(x, AXIS - 6, 3, 0, 7);
    context.fill();
  }

  /** The strip below: all of the history, and the window that is shown. */
  overview({ counts, most, from, to }) {
    const { context, scale, colors } = this;
    const top = this.height - STRIP;
    context.fillStyle = colors.raised;
    context.fillRect(0, top, this.width, STRIP);
    context.strokeStyle = colors.line;
    context.strokeRect(-1, top + 0.5, this.width + 2, STRIP);
    context.font = `11px ${colors.font}`;
    context.fillStyle = colors.faint;
    context.fillText(fitted("all of the log", scale.left - 18), 12, top + STRIP / 2);
    const room = STRIP - 12;
    context.beginPath();
    counts.forEach((count, at) => {
      const size = count && Math.max(2, (count / most) * room);
      if (size) context.rect(scale.left + at * 2, top + STRIP - 5 - size, 1.5, size);
    });
    context.fillStyle = colors.edge;
    context.fill();
    const place = (us) => scale.left + ((us - from) / (to - from)) * scale.width;
    const left = Math.max(scale.left, place(scale.from));
    const right = Math.min(this.width - 1, Math.max(place(scale.to), left + 6));
    this.window = { left, right, top };
    context.globalAlpha = 0.13;
    context.fillStyle = colors.accent;
    context.fillRect(left, top + 1, right - left, STRIP);
    context.globalAlpha = 1;
    context.strokeStyle = colors.accent;
    context.strokeRect(left + 0.5, top + 1.5, right - left - 1, STRIP - 3);
    context.fillRect(left - 1, top + 11, 3, STRIP - 22);
    context.fillRect(right - 2, top + 11, 3, STRIP - 22);
  }

  /** Returns the span at a place. */
  hit(x, y) {
    if (y < AXIS || y > this.height - STRIP) return undefined;
    const near = (box) => x >= box.x - 2 && x <= box.right + 2 && y >= box.y && y <= box.bottom;
    return this.hits.findLast(near)?.span;
  }
}
