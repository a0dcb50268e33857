// What the server said, by key. Changes carry rows without their places, so the order of the server
// (zeta-core, overview/order.rs) is kept here.

import { Spans } from "./spans.js";

/** Most messages that are kept, as the server does. */
const MESSAGES = 200;

export const model = {
  node: undefined,
  stateDir: "",
  cluster: undefined,
  agents: new Map(),
  leases: new Map(),
  messages: [],
  findings: [],
  spans: new Spans(),
};

export const agentKey = (row) => `${row.node}/${row.name}`;
export const leaseKey = (row) => `${row.node}/${row.name}/${row.token}`;

// The server decides which rows need a person first (`rank`); what is equal stands by age and name.
function agentPlace(agent) {
  const since = agent.waits ? (agent.waits.since_us ?? Infinity) : 0;
  return [agent.rank, since, agent.node, agent.name];
}

function leasePlace(lease) {
  const { rank, node, subject, name, token } = lease;
  return [rank, -lease.waiters.length, node, subject, name, token];
}

function compare(a, b) {
  for (let i = 0; i < a.length; i += 1) {
    if (a[i] < b[i]) return -1;
    if (a[i] > b[i]) return 1;
  }
  return 0;
}

/** Rows in their order. A row whose place stays the same is replaced and not moved. */
class Order {
  constructor(rows, key, place) {
    Object.assign(this, { rows, key, place, places: new Map(), keys: [], moved: new Set() });
  }

  set(row) {
    const key = this.key(row);
    const place = this.place(row);
    const before = this.places.get(key);
    this.rows.set(key, row);
    if (before && compare(before, place) === 0) return;
    this.places.set(key, place);
    this.moved.add(key);
  }

  remove(row) {
    const key = this.key(row);
    if (this.places.delete(key)) this.moved.add(key);
    this.rows.delete(key);
  }

  replace(rows) {
    this.keys.forEach((key) => this.moved.add(key));
    this.rows.clear();
    this.places.clear();
    rows.forEach((row) => this.set(row));
  }

  /** Returns the keys in their order: a new array, if anything moved. */
  sorted() {
    if (this.moved.size === 0) return this.keys;
    const places = this.places;
    const byPlace = (a, b) => compare(places.get(a), places.get(b));
    const moved = [...this.moved].filter((key) => places.has(key)).sort(byPlace);
    const stayed = this.keys.filter((key) => !this.moved.has(key));
    this.keys = [];
    for (const key of stayed) {
      while (moved.length > 0 && byPlace(moved[0], key) < 0) this.keys.push(moved.shift());
      this.keys.push(key);
    }
    this.keys.push(...moved);
    this.moved.clear();
    return this.keys;
  }
}

const agents = new Order(model.agents, agentKey, agentPlace);
const leases = new Order(model.leases, leaseKey, leasePlace);

export const agentOrder = () => agents.sorted();
export const leaseOrder = () => leases.sorted();

/** Takes a whole overview; returns the words of what changed. */
export function replaceAll({ overview, history }) {
  model.node = overview.node;
  model.stateDir = overview.state_dir;
  model.cluster = overview.cluster;
  agents.replace(overview.agents);
  leases.replace(overview.leases);
  model.messages = overview.messages;
  model.findings = overview.findings;
  model.spans = new Spans();
  model.spans.add(history ?? []);
  model.spans.complete(model.leases);
  return ["all", "agents", "leases", "messages", "findings", "history"];
}

/** Returns whether an agent did nothing but beat. */
function onlyBeats(old, row) {
  return (
    old !== undefined &&
    JSON.stringify({ ...old, beat_at_us: row.beat_at_us }) === JSON.stringify(row)
  );
}

/** Takes changes; returns the words of what changed. */
export function applyChanges(changes) {
  const what = [];
  if (changes.node !== undefined) {
    model.node = changes.node ?? undefined;
    what.push("node");
  }
  if (changes.cluster !== undefined) {
    model.cluster = changes.cluster ?? undefined;
    what.push("cluster");
  }
  if (changes.agents || changes.agents_gone) {
    const only = changes.agents?.every((row) => onlyBeats(model.agents.get(agentKey(row)), row));
    changes.agents_gone?.forEach((row) => agents.remove(row));
    changes.agents?.forEach((row) => agents.set(row));
    // A beat is an age, and ages are written again each second.
    if (!only || changes.agents_gone) what.push("agents");
  }
  if (changes.history?.length) {
    model.spans.add(changes.history);
    what.push("history");
  }
  if (changes.leases || changes.leases_gone) {
    changes.leases_gone?.forEach((row) => {
      leases.remove(row);
      model.spans.stoodLast(row);
    });
    changes.leases?.forEach((row) => {
      leases.set(row);
      model.spans.stands(row);
    });
    what.push("leases", "history");
  }
  if (changes.messages || changes.messages_gone) {
    const gone = new Set(changes.messages_gone);
    const kept = model.messages.filter((message) => !gone.has(message.id));
    model.messages = kept.concat(changes.messages ?? []).slice(-MESSAGES);
    what.push("messages");
  }
  if (changes.findings) {
    model.findings = changes.findings;
    what.push("findings");
  }
  return what;
}
