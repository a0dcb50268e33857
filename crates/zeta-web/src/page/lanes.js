// The lanes of the timeline: one for each lease or agent, with its spans in rows that do not overlap.

/** Most rows of spans in one lane; more share the last one. */
const ROWS = 6;
export const BAR = 17;
export const GAP = 7;

/** The time at which a span is drawn to begin and to end. */
export const beginOfSpan = (span) => span.from ?? span.until;
export const endOfSpan = (span, now) => span.until ?? (span.ended ? span.from : now);

class Lane {
  constructor(key, label) {
    Object.assign(this, { key, label, spans: [], rows: 1, top: 0, height: 0, stale: true });
  }

  settle() {
    this.stale = false;
    this.spans.sort((a, b) => beginOfSpan(a) - beginOfSpan(b) || a.id - b.id);
    const ends = [];
    for (const span of this.spans) {
      let row = ends.findIndex((end) => end <= beginOfSpan(span));
      if (row < 0) row = Math.min(ends.length, ROWS - 1);
      ends[row] = endOfSpan(span, Infinity);
      span.row = row;
    }
    this.rows = Math.max(1, ends.length);
    this.height = this.rows * (BAR + 1) + GAP;
  }
}

export class Lanes {
  constructor() {
    Object.assign(this, { by: "lease", words: [], list: [], byKey: new Map(), height: 0 });
  }

  keyOf(span) {
    return this.by === "lease" ? `${span.node}/${span.lease}` : `${span.node}/${span.agent ?? "?"}`;
  }

  labelOf(span) {
    return this.by === "lease" ? span.subject : (span.agent ?? "not known");
  }

  has(span) {
    return this.words.every((word) => span.text.includes(word));
  }

  /** Builds all lanes anew: those with an open span first, then those with the newest. */
  rebuild(all) {
    this.byKey.clear();
    for (const span of all) if (this.has(span)) this.put(span);
    const rank = (lane) => {
      const last = lane.spans.at(-1);
      return [lane.spans.some((span) => !span.ended) ? 0 : 1, -beginOfSpan(last)];
    };
    this.list = [...this.byKey.values()];
    this.list.forEach((lane) => lane.settle());
    const ranks = new Map(this.list.map((lane) => [lane, rank(lane)]));
    this.list.sort((a, b) => {
      const [[x, y], [v, w]] = [ranks.get(a), ranks.get(b)];
      return x - v || y - w;
    });
    this.stack();
  }

  put(span) {
    const key = this.keyOf(span);
    let lane = this.byKey.get(key);
    if (!lane) {
      lane = new Lane(key, this.labelOf(span));
      this.byKey.set(key, lane);
      this.list.unshift(lane);
    }
    if (span.lane !== lane) lane.spans.push(span);
    span.lane = lane;
    lane.stale = true;
  }

  /** Takes spans that are new or changed; the other lanes keep their places. */
  update(changed) {
    let any = false;
    for (const span of changed) {
      if (!this.has(span)) continue;
      this.put(span);
      any = true;
    }
    if (!any) return;
    for (const lane of this.list) if (lane.stale) lane.settle();
    this.stack();
  }

  stack() {
    let top = 0;
    for (const lane of this.list) {
      lane.top = top;
      top += lane.height;
    }
    this.height = top;
  }

  /** Returns the place of the lane at a height. */
  at(y) {
    let [low, high] = [0, this.list.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.list[middle].top <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
