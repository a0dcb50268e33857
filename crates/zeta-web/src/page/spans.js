// Who held what from when to when, built from the entries of the history by the rules of zeta-core
// (history/span.rs). What stands now and is not in the log is added from the leases.

import { textOf } from "./filter.js";

const ENDS = { released: "released", broken: "broken", removed: "removed" };
const BEFORE = { taken_over: "taken_over", handed_over: "handed_over" };

/** Most spans that are kept; as many entries are what the server sends at first. */
const SPANS = 10_000;

const isJoint = (span) => span.kind === "paths" || span.kind === "slot";

/** The lane of a lease. The claims on paths of a repository are one lease, each on other paths. */
export const laneOf = ({ node, name, subject }) => `${node}/${name}/${subject}`;

let next = 0;

function newSpan(entry, from) {
  next += 1;
  const span = {
    id: next,
    node: entry.node,
    lease: entry.lease,
    subject: entry.subject,
    kind: entry.kind,
    token: entry.fencing_token,
    agent: entry.agent,
    branch: entry.branch,
    worktree: entry.worktree,
    purpose: entry.purpose,
    from,
    began: entry.event,
    fromAgent: entry.from_agent,
    cause: entry.cause,
    until: undefined,
    ended: undefined,
    byLease: laneOf({ ...entry, name: entry.lease }),
    byAgent: `${entry.node}/${entry.agent ?? "?"}`,
  };
  // Thousands of them at the first letter of a filter would be felt.
  textOf(span);
  return span;
}

export class Spans {
  constructor() {
    this.all = new Map();
    this.open = new Map();
    /** Spans that are new or changed since the last `drain`. */
    this.changed = new Set();
    this.first = undefined;
  }

  add(entries) {
    entries.forEach((entry) => this.addEntry(entry));
  }

  /** Returns what is new or changed since the last call. */
  drain() {
    const changed = this.changed;
    this.changed = new Set();
    return changed;
  }

  addEntry(entry) {
    const ended = ENDS[entry.event];
    if (ended) return this.end(entry, entry.fencing_token, entry.agent, ended);
    const before = BEFORE[entry.event];
    if (before && entry.from_fencing_token !== undefined) {
      this.end(entry, entry.from_fencing_token, entry.from_agent, before);
    }
    return this.begin(entry, entry.at_us);
  }

  /** Forgets the oldest spans that have ended, many at a time; returns whether it did. */
  trim() {
    if (this.all.size < SPANS * 1.1) return false;
    for (const [id, span] of this.all) {
      if (this.all.size <= SPANS) break;
      if (span.ended) this.all.delete(id);
    }
    this.first = undefined;
    for (const span of this.all.values()) this.begins(span.from ?? span.until);
    return true;
  }

  openOf(row) {
    const key = `${row.node}/${row.lease}`;
    if (!this.open.has(key)) this.open.set(key, []);
    return this.open.get(key);
  }

  put(span) {
    this.all.set(span.id, span);
    this.changed.add(span);
    this.begins(span.from ?? span.until);
    return span;
  }

  begins(at) {
    if (at !== undefined && !(at >= this.first)) this.first = at;
  }

  begin(entry, from) {
    const open = this.openOf(entry);
    const known = open.find((span) => span.token === entry.fencing_token);
    if (known) {
      // The lease was seen before its entry.
      const id = known.id;
      Object.assign(known, newSpan(entry, from), { id });
      return this.put(known);
    }
    this.endOthers(entry, open);
    const span = newSpan(entry, from);
    open.push(span);
    return this.put(span);
  }

  /** Grants of a joint lease stand side by side; beside another grant, none does. */
  endOthers(entry, open) {
    for (const span of open.splice(0)) {
      if (isJoint(span) && isJoint(entry)) open.push(span);
      else this.put(Object.assign(span, { until: entry.at_us, ended: "unrecorded", gone: false }));
    }
  }

  end(entry, token, agent, ended) {
    const open = this.openOf(entry);
    const meant = (span) => (token === undefined ? !isJoint(span) : span.token === token);
    const at = open.findIndex(meant);
    let span;
    if (at >= 0) [span] = open.splice(at, 1);
    else {
      this.endOthers(entry, open);
      span = newSpan({ ...entry, fencing_token: token, agent }, undefined);
    }
    const by = ended === "taken_over" ? entry.agent : entry.by;
    const why = { endedBy: by, endedCause: entry.cause, endedReason: entry.reason, gone: false };
    this.put(Object.assign(span, { until: entry.at_us, ended }, why));
  }

  /** Adds what stands and has no entry; marks what seems to last and does not stand. */
  complete(leases) {
    for (const lease of leases.values()) this.stands(lease);
    const standing = (span) => leases.has(`${span.node}/${span.lease}/${span.token}`);
    for (const open of this.open.values()) {
      for (const span of open) this.setGone(span, !standing(span));
    }
  }

  /** Takes a lease that stands. */
  stands(lease) {
    const row = { ...lease, lease: lease.name, fencing_token: lease.token };
    const known = this.openOf(row).find((span) => span.token === lease.token);
    if (known) return this.setGone(known, false);
    const at = lease.acquired_at_us;
    return this.begin({ ...row, event: "acquired", at_us: at }, at);
  }

  /** Takes the key of a lease that stands no more; its entry may come later. */
  stoodLast({ node, name, token }) {
    const open = this.openOf({ node, lease: name });
    const known = open.find((span) => span.token === token);
    if (known) this.setGone(known, true);
  }

  setGone(span, gone) {
    if (gone === Boolean(span.gone)) return;
    Object.assign(span, { gone, ended: gone ? "unrecorded" : undefined });
    this.put(span);
  }
}
