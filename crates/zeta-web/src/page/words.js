// How states are said and drawn: one table for the lists, the details and the band.

const AGENT = {
  live: ["live", "live", "live"],
  late: ["late", "late", "late"],
  hung: ["hung", "stuck", "stuck"],
  silent: ["silent", "silent", "quiet"],
  gone: ["gone", "gone", "quiet"],
};

/** Returns word, sign and tone of an agent. */
export function agentState(agent) {
  if (agent.waits) return ["waits", "person", "person"];
  if (agent.is_stopped && agent.liveness !== "gone") return ["stopped", "stopped", "stuck"];
  return AGENT[agent.liveness] ?? [agent.liveness, "silent", "quiet"];
}

/** Returns word, sign and tone of a lease. */
export function leaseState(lease) {
  const word = lease.standing.replaceAll("_", " ");
  if (lease.is_free) {
    return lease.waiters.length > 0 ? [word, "stuck", "stuck"] : [word, "free", "quiet"];
  }
  return lease.standing === "held" ? [word, "held", "live"] : [word, "late", "late"];
}

/** Returns the last part of a path. */
export function base(path) {
  return path.replace(/\/+$/, "").replace(/^.*\//, "");
}

/** Returns branch and worktree in one line, but no worktree that is named like the branch. */
export function where(row) {
  const tree = row.worktree && base(row.worktree);
  return [row.branch, tree !== row.branch && tree].filter(Boolean).join(" · ");
}

const ENDS = {
  released: "released",
  handed_over: "handed over",
  taken_over: "taken over",
  broken: "broken",
  removed: "removed",
  unrecorded: "ended, and nothing says how",
};

/** Says how a span ended. */
export function endOf(span) {
  if (!span.ended) return "holds it now";
  const why = [span.endedCause?.replaceAll("_", " "), span.endedReason].filter(Boolean).join(", ");
  const by = span.endedBy ? ` by ${span.endedBy}` : "";
  return `${ENDS[span.ended] ?? span.ended}${by}${why ? ` (${why})` : ""}`;
}

/** Says how a span began. */
export function beginOf(span) {
  if (span.from === undefined) return "before the log begins";
  if (span.began === "taken_over") {
    const why = span.cause ? ` (${span.cause.replaceAll("_", " ")})` : "";
    return `taken over from ${span.fromAgent ?? "another holder"}${why}`;
  }
  return span.began === "handed_over"
    ? `handed over by ${span.fromAgent ?? "the holder"}`
    : "granted";
}
