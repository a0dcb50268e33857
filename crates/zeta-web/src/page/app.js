// The page of `zeta web`: connects the stream to the model, and the model to what is drawn.

import { connect } from "./stream.js";
import { model, replaceAll, applyChanges } from "./model.js";
import { setServerTime, everySecond } from "./clock.js";
import { onFrame, frameSoon, onePerFrame } from "./frame.js";
import { put } from "./dom.js";
import { Needs } from "./needs.js";
import { agentList, leaseList } from "./lists.js";
import { messageList, findingList } from "./news.js";
import { Timeline } from "./timeline.js";
import { Details } from "./details.js";
import { startKeys } from "./keys.js";
import { wordsOf } from "./filter.js";

// The token has done its work: it must not stay in the address, the history or a bookmark.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);

const byId = (id) => document.getElementById(id);
const details = new Details(byId("details"));
const open = (kind, key) => details.open(kind, key);
const needs = new Needs(byId("needs"), byId("said"), open);
const lists = [
  agentList(byId("agents"), open),
  leaseList(byId("leases"), open),
  messageList(byId("messages"), open),
  findingList(byId("findings"), open),
];
const timeline = new Timeline(byId("timeline"), byId("tip"), open);

/** What arrived since the last frame; all of it is drawn in the next one. */
const news = new Set();

function arrived(what) {
  if (what.length === 0) return;
  what.forEach((word) => news.add(word));
  frameSoon();
}

onFrame(() => {
  if (news.size === 0) return;
  const what = new Set(news);
  news.clear();
  if (what.has("all")) put(byId("node"), model.node ?? "");
  byId("node").title = model.stateDir;
  needs.show(what);
  lists.forEach((list) => list.show(what));
  timeline.show(what);
  details.show();
});

everySecond(() => {
  needs.tick();
  lists.forEach((list) => list.tick());
  timeline.tick();
  details.tick();
});

connect({
  overview(data) {
    setServerTime(data.now_us);
    arrived(replaceAll(data));
  },
  changes(data) {
    setServerTime(data.now_us);
    arrived(applyChanges(data));
  },
});

const filter = byId("filter");
filter.addEventListener("input", () => {
  const words = wordsOf(filter.value);
  onePerFrame([...lists, timeline].map((part) => () => part.filter(words)));
});

startKeys({ filter, details, timeline, lists });
