// The timeline: what it shows, and how it is moved by pointer and keys.

import { model } from "./model.js";
import { now, clock, day, moment, longLength } from "./clock.js";
import { drawNext, drawSoon } from "./frame.js";
import { make, put, mark } from "./dom.js";
import { Scale } from "./scale.js";
import { Lanes, buildLanes, beginOfSpan, endOfSpan } from "./lanes.js";
import { Painter, paletteOf, AXIS, STRIP } from "./paint.js";
import { startPointer } from "./drag.js";
import { spanTable } from "./spantable.js";
import { beginOf, endOf } from "./words.js";

/** What is shown at first, if the history is longer. */
const FIRST_US = 60 * 60 * 1e6;
/** So long may the lanes be built in one frame, in ms. */
const BUILD_MS = 1.5;

/** Says a span in words: the lines of the tip, and what is spoken. */
export function wordsOfSpan(span) {
  const until = span.until ?? (span.ended ? undefined : now());
  const took = span.from !== undefined && until !== undefined ? longLength(until - span.from) : "";
  const times = `${moment(span.from) || "?"} – ${span.ended ? moment(span.until) || "?" : "now"}`;
  return {
    title: `${span.subject}: ${span.agent ?? "holder not known"}`,
    lines: [took ? `${times} (${took})` : times, beginOf(span), endOf(span), span.purpose].filter(
      Boolean,
    ),
  };
}

export class Timeline {
  constructor(root, tip, open) {
    const part = (id) => document.getElementById(id);
    Object.assign(this, { root, tip, open, box: part("lanes"), scroll: 0, strip: undefined });
    this.scale = new Scale();
    this.wanted = { by: "lease", words: [] };
    this.lanes = new Lanes("lease", []);
    /** Lanes that are being built, and the spans that changed meanwhile. */
    this.building = undefined;
    this.missed = [];
    this.painter = new Painter(part("canvas"));
    this.title = root.querySelector("h2 b");
    this.range = part("timeline-range");
    this.said = part("lanes-said");
    this.nothing = root.querySelector(".nothing");
    this.table = spanTable(root, this, open);
    this.buttons(part);
    startPointer(this);
    this.box.addEventListener("keydown", (event) => this.pressed(event));
    this.box.addEventListener("focus", () => this.later());
    this.box.addEventListener("blur", () => {
      this.hover(undefined);
      this.tip.hidden = true;
      this.later();
    });
    new ResizeObserver(() => this.resized()).observe(this.box);
    const recolor = () => this.recolor();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
    addEventListener("theme", recolor);
    this.paint = () => this.draw();
  }

  buttons(part) {
    const on = (id, call) => part(id).addEventListener("click", call);
    const by = (word) => () => {
      mark(part("by-lease"), "aria-pressed", String(word === "lease"));
      mark(part("by-agent"), "aria-pressed", String(word === "agent"));
      this.rebuild(word, this.wanted.words);
    };
    on("by-lease", by("lease"));
    on("by-agent", by("agent"));
    const move = (call) => () => {
      call();
      this.later();
    };
    on(
      "zoom-in",
      move(() => this.scale.zoom(0.6)),
    );
    on(
      "zoom-out",
      move(() => this.scale.zoom(1 / 0.6)),
    );
    on(
      "zoom-all",
      move(() => this.scale.showAll()),
    );
    on(
      "follow",
      move(() => this.scale.showLast(this.scale.to - this.scale.from)),
    );
    on("as-table", () => {
      const shown = this.table.toggle();
      this.box.hidden = shown;
      mark(part("as-table"), "aria-pressed", String(shown));
      this.later();
    });
    this.followButton = part("follow");
  }

  show(what) {
    if (!what.has("history") && !what.has("all")) return false;
    if (what.has("all")) {
      this.focused = undefined;
      model.spans.drain();
      this.rebuild(this.wanted.by, this.wanted.words);
      if (!this.begun && model.spans.first !== undefined) {
        this.begun = true;
        this.bound();
        this.scale.showLast(FIRST_US);
      }
    } else {
      const changed = model.spans.drain();
      if (model.spans.trim()) this.rebuild(this.wanted.by, this.wanted.words);
      else if (this.building) this.missed.push(...changed);
      else this.lanes.update(changed);
      this.counted();
    }
    this.strip = undefined;
    this.later();
    return true;
  }

  filter(words) {
    this.rebuild(this.wanted.by, words);
  }

  /** Builds the lanes anew, over as many frames as it takes; the old ones are shown until then. */
  rebuild(by, words) {
    this.wanted = { by, words };
    this.building = buildLanes([...model.spans.all.values()], by, words);
    this.missed = [];
    this.later();
  }

  build() {
    const end = performance.now() + BUILD_MS;
    let step;
    do step = this.building.next();
    while (!step.done && performance.now() < end);
    if (!step.done) {
      this.later();
      return;
    }
    const { by, words } = this.lanes;
    this.lanes = step.value;
    this.building = undefined;
    this.lanes.update(this.missed);
    this.missed = [];
    // The same lanes, built anew, are read on where they were.
    if (by !== this.lanes.by || words !== this.lanes.words) this.scroll = 0;
    this.counted();
  }

  counted() {
    put(this.title, String(this.lanes.list.length));
    this.nothing.hidden = this.lanes.list.length > 0;
    const text = model.spans.all.size ? "Nothing matches the filter." : "Nothing was held yet.";
    put(this.nothing, text);
    this.table.stale();
  }

  bound() {
    this.scale.bound(model.spans.first ?? now() - 6e8, now());
  }

  /** Moves the edge of now, as soon as it has moved by a pixel. */
  tick() {
    this.table.tick();
    const pixel = (this.scale.to - this.scale.from) / this.scale.width;
    if (now() - (this.painter.now ?? 0) < pixel) return;
    this.strip = undefined;
    this.later();
  }

  later() {
    drawSoon(this.paint);
  }

  /** Draws in the next frame, for a person who moves it. */
  next() {
    drawNext(this.paint);
  }

  resized() {
    this.size = undefined;
    this.later();
  }

  recolor() {
    this.colors = undefined;
    this.later();
  }

  draw() {
    if (this.building) this.build();
    const box = this.box;
    if (!this.size) {
      const [width, height] = [box.clientWidth, box.clientHeight];
      if (!width || !height) return;
      this.size = [width, height];
      this.painter.resize(width, height);
      this.scale.left = width < 520 ? 92 : 168;
      this.scale.width = width - this.scale.left - 12;
      this.strip = undefined;
    }
    this.bound();
    this.colors ??= paletteOf(box);
    this.strip ??= this.count();
    const room = this.size[1] - AXIS - STRIP;
    this.scroll = Math.max(0, Math.min(this.scroll, this.lanes.height - room));
    const focused = document.activeElement === box ? this.focused : undefined;
    const { lanes, scale, scroll, colors, hovered, strip } = this;
    this.painter.paint({ lanes, scale, scroll, now: now(), colors, focused, hovered, strip });
    if (this.tipped !== focused) this.tipFocused(focused);
    mark(this.followButton, "aria-pressed", String(scale.follow));
    const [from, to] = [scale.from, Math.min(scale.to, now())];
    const start = `${day(from) === day(now()) ? "" : `${day(from)} `}${clock(from, false)}`;
    put(
      this.range,
      `${start} – ${scale.follow ? "now" : clock(to, false)}, ${longLength(to - from)}`,
    );
  }

  /** The keyboard shows what the pointer would: the facts of the span with the focus. */
  tipFocused(span) {
    this.tipped = span;
    const drawn = span && this.painter.hits.find((hit) => hit.span === span);
    if (!drawn) return;
    const box = this.box.getBoundingClientRect();
    this.showTip(span, box.left + drawn.x, box.top + drawn.bottom);
  }

  /** Counts how many grants began in each two pixels of the strip. */
  count() {
    const { first: from, last: to, width } = this.scale;
    const counts = new Uint16Array(Math.max(1, Math.floor(width / 2)));
    for (const span of model.spans.all.values()) {
      const at = Math.floor(((beginOfSpan(span) - from) / (to - from)) * counts.length);
      if (at >= 0 && at <= counts.length) counts[Math.min(at, counts.length - 1)] += 1;
    }
    return { counts, most: counts.reduce((a, b) => Math.max(a, b), 1), from, to };
  }

  /** Shows the facts of the span below the pointer. */
  hover(span, x, y) {
    if (span !== this.hovered) {
      this.hovered = span;
      this.box.classList.toggle("over", span !== undefined);
      this.tip.hidden = span === undefined;
      this.later();
    }
    if (span) this.showTip(span, x, y);
  }

  /** Shows the facts of a span beside a place of the window. */
  showTip(span, x, y) {
    this.tip.hidden = false;
    const { title, lines } = wordsOfSpan(span);
    this.tip.replaceChildren(
      make("b", "", [title]),
      ...lines.map((text) => make("span", "", [text])),
    );
    const box = this.tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(x + 14, innerWidth - box.width - 8));
    const top = y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18;
    Object.assign(this.tip.style, { left: `${left}px`, top: `${Math.max(4, top)}px` });
  }

  openSpan(span) {
    if (span) this.open("span", span);
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { scale } = this;
    const width = scale.to - scale.from;
    const moves = {
      "+": () => scale.zoom(0.6),
      "=": () => scale.zoom(0.6),
      "-": () => scale.zoom(1 / 0.6),
      0: () => scale.showAll(),
      End: () => scale.showLast(width),
      Home: () => scale.show(scale.first - width * 0.05, scale.first + width * 0.95),
      PageUp: () => (this.scroll -= 120),
      PageDown: () => (this.scroll += 120),
      ArrowUp: () => this.step(-1, 0),
      ArrowDown: () => this.step(1, 0),
      ArrowLeft: () => (event.shiftKey ? scale.pan(-width * 0.2) : this.step(0, -1)),
      ArrowRight: () => (event.shiftKey ? scale.pan(width * 0.2) : this.step(0, 1)),
      Enter: () => this.openSpan(this.focused),
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    move();
    this.later();
  }

  /** Moves the focus to another lane, or to another span of the lane. */
  step(lanes, spans) {
    const list = this.lanes.list;
    if (list.length === 0) return;
    const known = this.focused && list.indexOf(this.lanes.laneOf(this.focused));
    const found = known === undefined || known < 0 ? undefined : known;
    const at = found === undefined ? this.lanes.at(this.scroll) : found + lanes;
    const lane = list[Math.min(Math.max(at, 0), list.length - 1)];
    const time = this.focused ? beginOfSpan(this.focused) : this.scale.to;
    let place = lane.spans.indexOf(this.focused);
    if (place < 0) {
      const after = lane.spans.findIndex((span) => beginOfSpan(span) > time);
      place = after < 0 ? lane.spans.length - 1 : Math.max(0, after - 1);
    } else place = Math.min(Math.max(place + spans, 0), lane.spans.length - 1);
    this.focused = lane.spans[place];
    this.reveal(lane, this.focused);
    const { title, lines } = wordsOfSpan(this.focused);
    put(this.said, [title, ...lines].join(", "));
  }

  reveal(lane, span) {
    const room = this.size ? this.size[1] - AXIS - STRIP : 100;
    if (lane.top < this.scroll) this.scroll = lane.top;
    const bottom = lane.top + lane.height;
    if (bottom > this.scroll + room) this.scroll = bottom - room;
    const { from, to } = this.scale;
    const seen = beginOfSpan(span) < to && endOfSpan(span, now()) > from;
    if (!seen && Number.isFinite(beginOfSpan(span))) this.scale.reveal(beginOfSpan(span));
  }
}
