// The lists of agents, and of leases and claims.

import { Grid } from "./grid.js";
import { make, makeIcon, setIcon, put, mark } from "./dom.js";
import { model, agentOrder, leaseOrder } from "./model.js";
import { agentState, leaseState, where } from "./words.js";
import { age, length, now } from "./clock.js";
import { matches } from "./filter.js";

/** A pane with a grid whose rows are those of one map of the model, in its order. */
export function listOf(pane, { word, order, row, grid }) {
  const title = pane.querySelector("h2 b");
  let words = [];
  let seen;
  let shown = [];
  const select = (force) => {
    const keys = order();
    // What did not change its order needs no new list, but with a filter each row may come or go.
    if (keys === seen && words.length === 0 && !force) return grid.draw();
    seen = keys;
    shown = words.length ? keys.filter((key) => matches(row(key), words)) : keys;
    put(title, words.length ? `${shown.length} of ${keys.length}` : String(keys.length));
    grid.set(shown, keys.length);
    return true;
  };
  return {
    grid,
    show: (what) => (what.has(word) || what.has("all")) && select(what.has("all")),
    tick: () => grid.later(),
    filter(given) {
      words = given;
      select(true);
    },
  };
}

function cellsOf(names) {
  const parts = {};
  for (const name of names) parts[name] = make("div", name);
  parts.cells = Object.values(parts);
  return parts;
}

/** A cell with a sign and a word. */
function signed(cell) {
  const icon = makeIcon("live");
  const text = make("span");
  cell.append(icon, text);
  return (name, word, tone) => {
    setIcon(icon, name);
    put(text, word);
    mark(cell, "data-tone", tone);
  };
}

/** A row that was filled with another state before is marked for a moment. */
function flash(parts, key, state) {
  const row = parts.row;
  const changed = parts.flashKey === key && parts.flashState !== state;
  Object.assign(parts, { flashKey: key, flashState: state });
  if (!changed) return;
  row.classList.remove("new");
  requestAnimationFrame(() => row.classList.add("new"));
  row.addEventListener("animationend", () => row.classList.remove("new"), { once: true });
}

function makeAgent() {
  const parts = cellsOf(["word", "name", "does", "age", "proof", "where", "mail"]);
  parts.state = signed(parts.word);
  parts.where.classList.add("mono");
  parts.count = make("span");
  parts.icon = makeIcon("mail");
  parts.mail.append(parts.icon, parts.count);
  return parts;
}

/** Since when an agent is in its state: a live one since its session began, others since a beat. */
const sinceOf = (agent) =>
  agent.waits?.since_us ??
  (agentState(agent)[0] === "live" ? agent.started_at_us : undefined) ??
  agent.beat_at_us;

function fillAgent(parts, key) {
  const agent = model.agents.get(key);
  if (!agent) return;
  const [word, sign, tone] = agentState(agent);
  parts.state(sign, word, tone);
  mark(parts.row, "data-tone", tone);
  put(parts.name, agent.name);
  put(parts.does, agent.waits?.question ?? agent.task ?? agent.status ?? "");
  put(parts.age, age(sinceOf(agent)));
  put(parts.proof, agent.evidence);
  const node = agent.node === model.node ? undefined : agent.node;
  put(parts.where, [where(agent), agent.tool, node].filter(Boolean).join(" · "));
  parts.icon.style.display = agent.unread ? "" : "none";
  put(parts.count, agent.unread ? String(agent.unread) : "");
  mark(parts.mail, "data-some", String(agent.unread > 0));
  mark(parts.mail, "aria-label", agent.unread ? `${agent.unread} unread` : "nothing unread");
  flash(parts, key, word);
}

/** Makes the list of agents. */
export function agentList(pane, open) {
  const grid = new Grid(pane, {
    label: "Agents",
    columns: ["State", "Agent", "Task", "Since", "Evidence", "Branch, worktree, tool", "Unread"],
    rowName: "agent",
    makeRow: makeAgent,
    fill: fillAgent,
    open: (key) => open("agent", key),
    empty: "No agent is here yet. Start one: zeta run --as NAME -- COMMAND",
  });
  const row = (key) => model.agents.get(key);
  return listOf(pane, { word: "agents", order: agentOrder, row, grid });
}

function makeLease() {
  const parts = cellsOf(["word", "subject", "agent", "rest", "proof", "for", "line"]);
  parts.state = signed(parts.word);
  parts.kind = make("span", "kind");
  parts.label = make("span");
  parts.subject.append(parts.kind, parts.label);
  parts.for.classList.add("small");
  parts.line.classList.add("small");
  parts.left = make("span", "left", [], { "aria-hidden": "true" });
  parts.spoken = make("span", "sr");
  parts.rest.classList.add("restbar");
  parts.track = make("div", "track", [], { "aria-hidden": "true" });
  parts.rest.append(parts.track, parts.left, parts.spoken);
  return parts;
}

/** Returns what is left of a lease, as a part of its whole life and in words. */
export function restOf(lease) {
  const [end, grace] = [lease.expires_at_us, lease.grace_until_us];
  if (lease.is_free) return { part: 0, words: "free", spoken: "free for the next caller" };
  if (end === undefined) return { part: 0, words: "", spoken: "no end is known" };
  const left = end - now();
  const whole = lease.ttl_ms * 1000;
  if (left > 0) {
    const words = length(left);
    return { part: Math.min(1, left / whole), words, spoken: `${words} left` };
  }
  // The server has not judged anew yet.
  if (lease.standing === "held") return { part: 0, words: length(0), spoken: "no time left" };
  if (grace > now()) {
    const words = length(grace - now());
    return {
      part: Math.min(1, (grace - now()) / whole),
      words,
      spoken: `in grace, ${words}`,
      grace: true,
    };
  }
  return { part: 0, words: `−${length(-left)}`, spoken: `over since ${length(-left)}` };
}

const line = (lease) => {
  const [first, ...others] = lease.waiters;
  if (!first) return "";
  const name = first.agent ?? `pid ${first.pid}`;
  return others.length ? `${name} +${others.length} wait` : `${name} waits`;
};

function fillLease(parts, key) {
  const lease = model.leases.get(key);
  if (!lease) return;
  const [word, sign, tone] = leaseState(lease);
  parts.state(sign, word, tone);
  mark(parts.row, "data-tone", tone);
  put(parts.kind, lease.kind === "lease" ? "" : lease.kind);
  parts.kind.hidden = lease.kind === "lease";
  put(parts.label, lease.subject);
  put(parts.agent, lease.agent || "not known");
  const rest = restOf(lease);
  parts.track.style.backgroundSize = `${(rest.part * 100).toFixed(1)}% 100%, 100%`;
  mark(parts.rest, "data-grace", String(rest.grace === true));
  put(parts.spoken, rest.spoken);
  put(parts.left, rest.words);
  put(parts.proof, lease.evidence);
  put(parts.for, [lease.purpose, where(lease)].filter(Boolean).join(" · "));
  put(parts.line, line(lease));
  mark(parts.line, "data-some", String(lease.waiters.length > 0));
  flash(parts, key, word);
}

/** Makes the list of leases and claims. */
export function leaseList(pane, open) {
  const grid = new Grid(pane, {
    label: "Leases and claims",
    columns: ["State", "Lease", "Holder", "Rest", "Evidence", "For", "Waiting"],
    rowName: "lease",
    makeRow: makeLease,
    fill: fillLease,
    open: (key) => open("lease", key),
    empty: "No lease is held. Take one: zeta lease acquire NAME",
  });
  const row = (key) => model.leases.get(key);
  return listOf(pane, { word: "leases", order: leaseOrder, row, grid });
}

export { cellsOf };
