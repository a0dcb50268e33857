// The lanes of the timeline: one for each lease or agent. Its spans stand in rows that do not
// overlap.

import { matches } from "./filter.js";
import { model, agentOrder, leaseOrder } from "./model.js";
import { laneOf } from "./spans.js";

/** Most rows of spans in one lane; more share the last one. */
const ROWS = 6;
/** So many spans or lanes are handled before a build may pause. */
const SLICE = 250;
export const BAR = 17;
export const GAP = 7;

/** The time at which a span is drawn to begin and to end. */
export const beginOfSpan = (span) => span.from ?? span.until ?? -Infinity;
export const endOfSpan = (span, now) => span.until ?? (span.ended ? beginOfSpan(span) : now);

class Lane {
  constructor(key, label) {
    Object.assign(this, { key, label, spans: [], places: [], rows: 1 });
    Object.assign(this, { top: 0, height: 0, stale: true });
  }

  /** Sorts the spans by their begin, and finds the row of each (`places`, in the same order). */
  settle() {
    this.stale = false;
    const spans = this.spans;
    const after = (span, at) => at > 0 && beginOfSpan(spans[at - 1]) > beginOfSpan(span);
    if (spans.some(after)) spans.sort((a, b) => beginOfSpan(a) - beginOfSpan(b) || a.id - b.id);
    const ends = [];
    this.places = spans.map((span) => {
      let row = 0;
      while (row < ends.length && ends[row] > beginOfSpan(span)) row += 1;
      row = Math.min(row, ROWS - 1);
      ends[row] = endOfSpan(span, Infinity);
      return row;
    });
    this.rows = Math.max(1, ends.length);
    this.height = this.rows * (BAR + 1) + GAP;
  }
}

export class Lanes {
  constructor(by, words) {
    Object.assign(this, { by, words, list: [], byKey: new Map(), height: 0, placed: new Set() });
  }

  keyOf(span) {
    return this.by === "lease" ? span.byLease : span.byAgent;
  }

  laneOf(span) {
    return this.byKey.get(this.keyOf(span));
  }

  has(span) {
    return matches(span, this.words);
  }

  /** The places of the lanes: what needs a person stands first, as in the lists. */
  places() {
    if (this.by === "agent") return new Map(agentOrder().map((key, at) => [key, at]));
    const keys = new Set(leaseOrder().map((key) => laneOf(model.leases.get(key))));
    return new Map([...keys].map((key, at) => [key, at]));
  }

  put(span, isNew = false) {
    let lane = this.laneOf(span);
    if (!lane) {
      const label = this.by === "lease" ? span.subject : (span.agent ?? "not known");
      lane = new Lane(this.keyOf(span), label);
      this.byKey.set(lane.key, lane);
      if (isNew) this.list.unshift(lane);
      else this.list.push(lane);
    }
    if (!this.placed.has(span)) {
      this.placed.add(span);
      lane.spans.push(span);
    }
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

/**
 * Builds the lanes of all spans that have the words, in the order of the list of leases or agents;
 * then those of what is not there any more. It yields often, so that a frame need not wait for
 * thousands of spans.
 */
export function* buildLanes(all, by, words) {
  const lanes = new Lanes(by, words);
  let done = 0;
  for (const span of all) {
    if (lanes.has(span)) lanes.put(span);
    if (++done % SLICE === 0) yield;
  }
  const places = lanes.places();
  for (const lane of lanes.list) {
    lane.settle();
    lane.place = places.get(lane.key) ?? places.size;
    lane.newest = beginOfSpan(lane.spans.at(-1));
    done += lane.spans.length;
    if (done > SLICE) {
      done = 0;
      yield;
    }
  }
  lanes.list.sort((a, b) => a.place - b.place || b.newest - a.newest);
  lanes.stack();
  return lanes;
}
