// The lanes of the timeline: one for each lease or agent. Its spans stand in rows that do not
// overlap.

import { matches } from "./filter.js";
import { model, agentOrder, leaseOrder } from "./model.js";
import { laneOf } from "./spans.js";

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
    const spans = this.spans;
    const after = (span, at) => at > 0 && beginOfSpan(spans[at - 1]) > beginOfSpan(span);
    if (spans.some(after)) spans.sort((a, b) => beginOfSpan(a) - beginOfSpan(b) || a.id - b.id);
    const ends = [];
    for (const span of spans) {
      const begin = beginOfSpan(span);
      let row = 0;
      while (row < ends.length && ends[row] > begin) row += 1;
      row = Math.min(row, ROWS - 1);
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
    return this.by === "lease" ? span.byLease : span.byAgent;
  }

  labelOf(span) {
    return this.by === "lease" ? span.subject : (span.agent ?? "not known");
  }

  has(span) {
    return matches(span, this.words);
  }

  /** Builds all lanes anew: in the order of the list of leases or agents; then what is not there. */
  rebuild(all) {
    const places = this.places();
    this.byKey.clear();
    this.list = [];
    for (const span of all) if (this.has(span)) this.put(span);
    for (const lane of this.list) {
      lane.settle();
      lane.place = places.get(lane.key) ?? places.size;
      lane.newest = beginOfSpan(lane.spans.at(-1));
    }
    this.list.sort((a, b) => a.place - b.place || b.newest - a.newest);
    this.stack();
  }

  /** The places of the lanes: what needs a person stands first, as in the lists. */
  places() {
    if (this.by === "agent") return new Map(agentOrder().map((key, at) => [key, at]));
    const keys = new Set(leaseOrder().map((key) => laneOf(model.leases.get(key))));
    return new Map([...keys].map((key, at) => [key, at]));
  }

  put(span, isNew = false) {
    const key = this.keyOf(span);
    let lane = this.byKey.get(key);
    if (!lane) {
      lane = new Lane(key, this.labelOf(span));
      this.byKey.set(key, lane);
      if (isNew) this.list.unshift(lane);
      else this.list.push(lane);
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
      this.put(span, true);
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
