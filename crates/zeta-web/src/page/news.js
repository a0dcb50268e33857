// The lists of messages and findings.

import { Grid } from "./grid.js";
import { make, makeIcon, setIcon, put, mark } from "./dom.js";
import { model } from "./model.js";
import { age } from "./clock.js";
import { cellsOf, listOf } from "./lists.js";

/** The keys of the items of an array; the array is a new one whenever it changed. */
function keysOf(items, key, newestFirst) {
  let seen;
  let keys = [];
  let byKey = new Map();
  const order = () => {
    const now = items();
    if (now !== seen) {
      seen = now;
      byKey = new Map(now.map((item, at) => [key(item, at), item]));
      keys = [...byKey.keys()];
      if (newestFirst) keys.reverse();
    }
    return keys;
  };
  return { order, row: (wanted) => byKey.get(wanted) };
}

/** Makes the list of messages, the newest first. */
export function messageList(pane, open) {
  const messages = keysOf(
    () => model.messages,
    (message) => message.id,
    true,
  );
  const makeRow = () => {
    const parts = cellsOf(["from", "at", "text"]);
    [parts.sender, parts.to, parts.topic] = [make("b"), make("span"), make("span")];
    parts.from.append(parts.sender, " → ", parts.to, " · ", parts.topic);
    return parts;
  };
  const fill = (parts, key) => {
    const message = messages.row(key);
    if (!message) return;
    put(parts.sender, message.from);
    put(parts.to, message.to);
    put(parts.topic, message.topic);
    put(parts.text, message.text);
    put(parts.at, age(message.at_us));
  };
  const grid = new Grid(pane, {
    label: "Messages",
    columns: ["From, to, topic", "Age", "Text"],
    rowName: "message",
    makeRow,
    fill,
    open: (key) => open("message", messages.row(key)),
    empty: "No message is on the bus. Send one: zeta bus send NAME TEXT",
  });
  return listOf(pane, { word: "messages", ...messages, grid });
}

/** How the urgencies are said; each has a sign of its name. */
const URGENCY = { person: "a person", stuck: "stuck", collision: "collision", notice: "notice" };

/** Makes the list of findings, the most urgent first. */
export function findingList(pane, open) {
  const key = (finding, at) => `${finding.finding} ${finding.about} ${at}`;
  const findings = keysOf(() => model.findings, key, false);
  const makeRow = () => {
    const parts = cellsOf(["sign", "text", "hint"]);
    parts.icon = makeIcon("notice");
    parts.spoken = make("span", "sr");
    parts.sign.append(parts.icon, parts.spoken);
    return parts;
  };
  const fill = (parts, wanted) => {
    const finding = findings.row(wanted);
    if (!finding) return;
    const isKnown = Object.hasOwn(URGENCY, finding.urgency);
    setIcon(parts.icon, isKnown ? finding.urgency : "notice");
    mark(parts.sign, "data-tone", finding.urgency === "notice" ? "quiet" : finding.urgency);
    put(parts.spoken, URGENCY[finding.urgency] ?? finding.urgency);
    put(parts.text, finding.message);
    put(parts.hint, finding.hints[0] ?? finding.about);
  };
  const grid = new Grid(pane, {
    label: "Findings",
    columns: ["Urgency", "What", "Next step"],
    rowName: "finding",
    makeRow,
    fill,
    open: (wanted) => open("finding", findings.row(wanted)),
    empty: "Nothing is wrong.",
  });
  return listOf(pane, { word: "findings", ...findings, grid });
}
