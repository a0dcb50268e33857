// The page of `zeta web`: connects the stream to the model, and the model to what is drawn.

import { connect } from "./stream.js";
import { model, replaceAll, applyChanges } from "./model.js";
import { setServerTime, everySecond } from "./clock.js";
import { drawSoon } from "./frame.js";
import { put } from "./dom.js";
import { Needs } from "./needs.js";
import { agentList, leaseList } from "./lists.js";
import { messageList, findingList } from "./news.js";
import { Timeline } from "./timeline.js";
import { Details } from "./details.js";
import { ClusterView } from "./cluster.js";
import { startKeys } from "./keys.js";
import { wordsOf } from "./filter.js";

// The token has done its work: it must not stay in the address, the history or a bookmark. The page
// lives below the path of its files, where its cookie counts.
history.replaceState(null, "", new URL(".", import.meta.url).pathname + location.hash);

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
const cluster = new ClusterView(byId("cluster-open"), byId("cluster"));
const timeline = new Timeline(byId("timeline"), byId("tip"), open);

const top = {
  show(what) {
    if (!what.has("all") && !what.has("node")) return false;
    put(byId("node"), model.node ?? "");
    byId("node").title = model.stateDir;
    return true;
  },
};

/** All that is drawn, the most urgent first; each part takes what arrived since it was drawn. */
const parts = [top, cluster, needs, ...lists, timeline, details].map((part) => {
  const news = new Set();
  const draw = () => {
    const what = new Set(news);
    news.clear();
    return part.show(what);
  };
  return (what) => {
    what.forEach((word) => news.add(word));
    drawSoon(draw);
  };
});

function arrived(what) {
  if (what.length > 0) parts.forEach((tell) => tell(what));
}

everySecond(() => [cluster, needs, ...lists, timeline, details].forEach((part) => part.tick()));

connect({
  alive(data) {
    setServerTime(data.now_us);
  },
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
const filters = [...lists, timeline].map((part) => () => part.filter(wordsOf(filter.value)));
filter.addEventListener("input", () => filters.forEach(drawSoon));

startKeys({ filter, details, timeline, lists, cluster });
