// A list of any length, of which only the rows on the screen exist. Rows keep their elements by
// key, so that the focus, the reader of a screen and the eye stay where they are.

import { make, put, mark } from "./dom.js";
import { drawNext, drawSoon, newRowsMax } from "./frame.js";

/** Rows that exist above and below the screen. */
const SPARE = 3;

/** What a column may be narrower in one row than in another, in px. */
const SLACK = 24;

/** The most that a text can take in the type of a row, in px. */
function mostWidth(text) {
  if (/[^ -~]/.test(text)) return Infinity;
  const wide = text.match(/[A-Zmw@%&]/g)?.length ?? 0;
  return wide * 14 + (text.length - wide) * 9.5;
}

export class Grid {
  /**
   * `makeRow` returns the cells of a row and its parts, `fill(parts, key)` writes a row into them,
   * and `open(key)` opens its details.
   */
  constructor(pane, { label, columns, rowName, makeRow, fill, open, empty }) {
    Object.assign(this, { rowName, makeRow, fill, open, empty });
    this.keys = [];
    this.rows = new Map();
    this.free = [];
    this.current = undefined;
    const heads = columns.map((name) => make("span", "", [name], { role: "columnheader" }));
    this.columns = columns.length;
    this.space = make("div", "grid-space");
    this.body = make("div", "grid-body", [this.space], { role: "rowgroup" });
    this.root = make(
      "div",
      "grid",
      [
        make("div", "sr", [make("div", "", heads, { role: "row" })], { role: "rowgroup" }),
        this.body,
      ],
      { role: "grid", "aria-label": label, "aria-readonly": "true" },
    );
    this.none = make("p", "nothing");
    pane.append(this.root, this.none);
    this.place = new Map();
    this.top = 0;
    this.body.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.root.addEventListener("keydown", (event) => this.pressed(event));
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("focusin", (event) => this.focused(event));
    new ResizeObserver(() => this.resized()).observe(this.body);
    this.paint = () => this.draw();
    this.move = () => this.draw(true);
  }

  /** Shows these keys, in this order. */
  set(keys, total = keys.length) {
    if (keys !== this.keys) {
      this.keys = keys;
      this.place = new Map(keys.map((key, at) => [key, at]));
    }
    const filtered = keys.length < total;
    this.none.hidden = keys.length > 0;
    this.root.hidden = keys.length === 0;
    put(this.none, filtered ? "Nothing matches the filter. Esc clears it." : this.empty);
    mark(this.root, "aria-rowcount", String(keys.length + 1));
    this.later();
  }

  /** Draws in the next frame. */
  later() {
    drawSoon(this.paint);
  }

  /** Measures when the browser has done its layout anyway, and never in between. */
  resized() {
    const screen = this.body.clientHeight;
    if (screen === 0) return;
    const height = Number.parseFloat(getComputedStyle(this.root).getPropertyValue("--row"));
    this.widths = undefined;
    Object.assign(this, { screen, height });
    this.later();
  }

  scrolled() {
    // Asking for it while drawing would make the browser lay out the page in between.
    this.top = this.body.scrollTop;
    drawNext(this.move);
  }

  /** Draws the rows that belong on the screen; if it only moved, those that were there are kept. */
  draw(onlyMoved = false) {
    if (!this.height) return;
    this.widths ??= this.measured();
    const [count, height] = [this.keys.length, this.height];
    if (this.space.dataset.count !== `${count}/${height}`) {
      this.space.dataset.count = `${count}/${height}`;
      this.space.style.height = `${count * height}px`;
    }
    const first = Math.max(0, Math.floor(this.top / height) - SPARE);
    const last = Math.min(count, first + Math.ceil(this.screen / height) + 2 * SPARE);
    const wanted = new Set(this.keys.slice(first, last));
    // The row with the focus stays, wherever the list is scrolled to.
    if (!this.place.has(this.current)) this.leave();
    if (this.current !== undefined) wanted.add(this.current);
    const spare = [...this.rows.keys()].filter((key) => !wanted.has(key));
    const reachable = this.current ?? this.keys[first === 0 ? 0 : first + SPARE];
    let fresh = 0;
    for (const key of wanted) {
      let parts = this.rows.get(key);
      const isNew = !parts;
      if (isNew) {
        fresh += 1;
        if (fresh > newRowsMax() && key !== this.current) continue;
        parts = this.take(key, spare.pop());
      }
      const at = this.place.get(key);
      if (parts.index !== at || parts.height !== height) {
        Object.assign(parts, { index: at, height });
        parts.row.style.top = `${at * height}px`;
        parts.row.setAttribute("aria-rowindex", at + 2);
      }
      mark(parts.row, "tabindex", key === reachable ? "0" : "-1");
      if (isNew || !onlyMoved) this.write(parts, key);
    }
    // What is left over may be of use in the next frame, if it still stands where it belongs.
    const isPending = fresh > newRowsMax();
    for (const key of spare) if (!isPending || !this.place.has(key)) this.drop(key);
    if (isPending) drawNext(this.move);
    for (const parts of this.free.splice(8)) parts.row.remove();
    if (this.lostFocus) {
      this.lostFocus = false;
      this.focus(this.place.get(this.current));
    }
  }

  /** Returns the widths of the columns, if there is a row to measure. */
  measured() {
    for (const { cells } of this.rows.values()) return cells.map((cell) => cell.clientWidth);
    return undefined;
  }

  /** Cuts what may be longer than its cell, and only that: a cut costs the browser a clip. */
  cut(parts) {
    const isMeasured = parts.widths === this.widths;
    parts.widths = this.widths;
    parts.cells.forEach((cell, at) => {
      const text = cell.textContent;
      if (isMeasured && parts.texts[at] === text) return;
      parts.texts[at] = text;
      const room = (this.widths?.[at] ?? 0) - SLACK;
      mark(cell, "data-cut", String(mostWidth(text) > room));
    });
  }

  /** The row with the focus is gone: the one in its place gets it. */
  leave() {
    const row = this.rows.get(this.current)?.row;
    const [focused, at] = [row === document.activeElement, row?.zeta.index ?? 0];
    this.current = focused ? this.keys[Math.min(at, this.keys.length - 1)] : undefined;
    this.lostFocus = this.current !== undefined;
  }

  /** Returns a row for a key: the one of another key, if that has no more use for it. */
  take(key, from) {
    const parts = this.rows.get(from) ?? this.free.pop() ?? this.made();
    this.rows.delete(from);
    parts.row.hidden = false;
    parts.key = key;
    this.rows.set(key, parts);
    return parts;
  }

  made() {
    const parts = { ...this.makeRow(), texts: [] };
    parts.row = make("div", `row ${this.rowName}`, parts.cells, { role: "row" });
    parts.cells.forEach((cell) => cell.setAttribute("role", "gridcell"));
    parts.row.zeta = parts;
    this.space.append(parts.row);
    return parts;
  }

  drop(key) {
    const parts = this.rows.get(key);
    this.rows.delete(key);
    parts.row.hidden = true;
    this.free.push(parts);
  }

  write(parts, key) {
    this.fill(parts, key);
    this.cut(parts);
  }

  keyOf(event) {
    return event.target.closest?.(".row")?.zeta?.key;
  }

  clicked(event) {
    const key = this.keyOf(event);
    if (key === undefined) return;
    this.focus(this.place.get(key));
    this.open(key);
  }

  focused(event) {
    const key = this.keyOf(event);
    if (key === undefined || key === this.current) return;
    this.current = key;
    this.later();
  }

  /** Moves the focus to a row, and the list so that it is seen. */
  focus(at) {
    const key = this.keys[Math.min(Math.max(at, 0), this.keys.length - 1)];
    if (key === undefined) return;
    if (!this.height) this.resized();
    const top = this.place.get(key) * this.height;
    const least = top + this.height - this.screen;
    if (top < this.top || least > this.top) {
      this.body.scrollTop = top < this.top ? top : least;
      this.top = this.body.scrollTop;
    }
    this.current = key;
    this.draw();
    this.rows.get(key).row.focus({ preventScroll: true });
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.place.get(this.current) ?? 0;
    const page = Math.max(1, Math.floor(this.screen / this.height) - 1);
    const to = {
      ArrowUp: at - 1,
      ArrowDown: at + 1,
      k: at - 1,
      j: at + 1,
      PageUp: at - page,
      PageDown: at + page,
      Home: 0,
      End: this.keys.length - 1,
    }[event.key];
    if (to !== undefined) this.focus(to);
    else if (event.key === "Enter" || event.key === " ") this.open(this.current ?? this.keys[0]);
    else return;
    event.preventDefault();
  }
}
