// The timeline as a table: each span in words, the newest first.

import { Grid } from "./grid.js";
import { make, put } from "./dom.js";
import { model } from "./model.js";
import { cellsOf } from "./lists.js";
import { moment, now, longLength } from "./clock.js";
import { beginOfSpan } from "./lanes.js";
import { beginOf, endOf } from "./words.js";

function makeRow() {
  const parts = cellsOf(["subject", "at", "end", "took"]);
  [parts.lease, parts.agent] = [make("b"), make("span")];
  parts.subject.append(parts.lease, " ", parts.agent);
  return parts;
}

function fill(parts, id) {
  const span = model.spans.all.get(id);
  if (!span) return;
  put(parts.lease, span.subject);
  put(parts.agent, span.agent ?? "holder not known");
  put(parts.at, `${moment(span.from) || "?"} – ${span.ended ? moment(span.until) || "?" : "now"}`);
  put(parts.end, `${beginOf(span)}; ${endOf(span)}`);
  const until = span.ended ? span.until : now();
  put(parts.took, span.from && until ? longLength(until - span.from) : "");
}

/** Makes the table, which is built when it is shown. */
export function spanTable(root, timeline, open) {
  let grid;
  let shown = false;
  const update = () => {
    if (!shown) return;
    const spans = [...model.spans.all.values()].filter((span) => timeline.lanes.has(span));
    spans.sort((a, b) => beginOfSpan(b) - beginOfSpan(a) || b.id - a.id);
    grid.set(
      spans.map((span) => span.id),
      model.spans.all.size,
    );
  };
  return {
    stale: update,
    tick: () => shown && grid.later(),
    toggle() {
      shown = !shown;
      grid ??= new Grid(root, {
        label: "Who held what",
        columns: ["Lease and holder", "From and until", "How it began and ended", "Length"],
        rowName: "span",
        makeRow,
        fill,
        open: (id) => open("span", model.spans.all.get(id)),
        empty: "Nothing was held yet.",
      });
      grid.root.hidden = grid.none.hidden = !shown;
      update();
      return shown;
    },
  };
}
