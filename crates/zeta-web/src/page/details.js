// The panel beside the lists: all that is known of one agent, lease, span, message or finding.

import { make, put } from "./dom.js";
import { model, agentOrder, leaseOrder } from "./model.js";
import { agentState, leaseState, beginOf, endOf } from "./words.js";
import { age, longLength, moment, now } from "./clock.js";
import { restOf } from "./lists.js";

const ago = (us) => us !== undefined && `${moment(us)} (${age(us)} ago)`;

/** A list of names and values; what is not known is left out. */
function facts(pairs) {
  const known = pairs.filter(([, value]) => ![undefined, false, "", 0].includes(value));
  return make(
    "dl",
    "facts",
    known.flatMap(([name, value]) => [
      make("dt", "", [name]),
      make("dd", "", [typeof value === "string" || value instanceof Node ? value : String(value)]),
    ]),
  );
}

const code = (text) => text && make("span", "mono", [text]);

function listed(title, rows) {
  if (rows.length === 0) return [];
  return [
    make("h3", "", [title]),
    make(
      "ul",
      "",
      rows.map((row) => make("li", "", [row].flat())),
    ),
  ];
}

/** A next step; a click selects all of it. */
const step = (hint) => make("li", "step", [make("code", "", [hint])]);

function findingsAbout(row, names) {
  const isAbout = ({ node, about }) => (node ?? row.node) === row.node && names.includes(about);
  const found = model.findings.filter(isAbout);
  return found.flatMap((finding) => [
    make("h3", "", ["Finding"]),
    make("p", "", [finding.message]),
    make("ul", "", finding.hints.map(step)),
  ]);
}

function agentBody(key) {
  const agent = model.agents.get(key);
  if (!agent) return undefined;
  const held = leaseOrder().map((each) => model.leases.get(each));
  const own = held.filter((lease) => lease.agent === agent.name && lease.node === agent.node);
  const waits = held.filter((lease) => lease.waiters.some((waiter) => waiter.agent === agent.name));
  const mail = model.messages.filter(({ from, to }) => [from, to].includes(agent.name)).slice(-6);
  const question = agent.waits && [make("p", "callout", [agent.waits.question])];
  return {
    title: agent.name,
    parts: [
      ...(question ?? []),
      facts([
        ["State", agentState(agent)[0]],
        ["Waits since", ago(agent.waits?.since_us)],
        ["Evidence", agent.evidence],
        ["Last beat", ago(agent.beat_at_us)],
        ["Began", ago(agent.started_at_us)],
        ["Status", agent.status],
        ["Task", agent.task],
        ["Branch", code(agent.branch)],
        ["Worktree", code(agent.worktree)],
        ["Tool", agent.tool],
        ["Processes", agent.pids.join(", ")],
        ["Unread", agent.unread && String(agent.unread)],
        ["Node", code(agent.node)],
      ]),
      ...findingsAbout(agent, [key, agent.name]),
      ...listed(
        "Holds",
        own.map((lease) => `${lease.subject} (${restOf(lease).spoken})`),
      ),
      ...listed(
        "Waits for",
        waits.map((lease) => `${lease.subject}, held by ${lease.agent}`),
      ),
      ...listed(
        "Messages",
        mail.map((message) => `${message.from} → ${message.to}: ${message.text}`),
      ),
    ],
  };
}

const waiterWords = (waiter) => {
  const since = waiter.since_us === undefined ? "" : `, for ${longLength(now() - waiter.since_us)}`;
  return `${waiter.agent ?? "an agent that is not known"} (process ${waiter.pid}${since})`;
};

function leaseBody(key) {
  const lease = model.leases.get(key);
  if (!lease) return undefined;
  return {
    title: lease.subject,
    parts: [
      facts([
        ["State", leaseState(lease)[0]],
        ["Holder", lease.agent || "not known"],
        ["Evidence", lease.evidence],
        ["Rest", restOf(lease).spoken],
        ["Since", ago(lease.acquired_at_us)],
        ["Until", moment(lease.expires_at_us)],
        ["Grace until", moment(lease.grace_until_us)],
        ["Purpose", lease.purpose],
        ["Branch", code(lease.branch)],
        ["Worktree", code(lease.worktree)],
        ["Kind", lease.kind],
        ["Name", code(lease.name)],
        ["Fencing token", code(String(lease.token))],
        ["Node", code(lease.node)],
      ]),
      ...listed("Waiting, in this order", lease.waiters.map(waiterWords)),
      ...findingsAbout(lease, [lease.name, lease.subject, `${lease.node}/${lease.name}`]),
    ],
  };
}

function spanBody(span) {
  const until = span.ended ? span.until : now();
  return {
    title: span.subject,
    parts: [
      facts([
        ["Holder", span.agent ?? "not known"],
        ["From", moment(span.from)],
        ["Until", span.ended ? moment(span.until) : "now"],
        ["Length", span.from && until && longLength(until - span.from)],
        ["Began", beginOf(span)],
        ["Ended", endOf(span)],
        ["Purpose", span.purpose],
        ["Branch", code(span.branch)],
        ["Worktree", code(span.worktree)],
        ["Kind", span.kind],
        ["Name", code(span.lease)],
        ["Fencing token", span.token && code(String(span.token))],
        ["Node", code(span.node)],
      ]),
    ],
  };
}

function messageBody(message) {
  const { id, at_us: at, topic, from, to, text } = message;
  const head = [
    ["From", from],
    ["To", to],
    ["Topic", topic],
    ["Sent", ago(at)],
    ["Id", code(id)],
  ];
  return {
    title: `From ${from}`,
    parts: [facts(head), make("h3", "", ["Text"]), make("p", "", [text])],
  };
}

function findingBody(finding) {
  return {
    title: finding.about,
    parts: [
      make("p", "", [finding.message]),
      facts([["Node", code(finding.node)]]),
      ...(finding.hints.length ? [make("h3", "", ["Next steps"])] : []),
      make("ul", "", finding.hints.map(step)),
    ],
  };
}

const BODIES = {
  agent: agentBody,
  lease: leaseBody,
  span: spanBody,
  message: messageBody,
  finding: findingBody,
};

/** Whether what is shown can change while it is open. */
const LIVE = new Set(["agent", "lease", "span"]);

export class Details {
  constructor(dialog) {
    this.dialog = dialog;
    this.title = dialog.querySelector("h2");
    this.body = dialog.querySelector(".body");
    dialog.querySelector(".close").addEventListener("click", () => this.close());
  }

  get isOpen() {
    return this.dialog.open;
  }

  open(kind, subject) {
    if (!this.isOpen) {
      this.before = document.activeElement;
      this.pane = this.before.closest(".pane, .needs");
    }
    Object.assign(this, { kind, subject });
    if (!this.render()) return;
    if (!this.isOpen) this.dialog.show();
    this.body.scrollTop = 0;
    this.title.focus();
  }

  render() {
    const made = BODIES[this.kind](this.subject);
    // What is gone stays as it was shown last; the lists say that it is gone.
    if (!made) return this.isOpen;
    put(this.title, made.title);
    this.body.replaceChildren(...made.parts);
    return true;
  }

  show() {
    return this.tick();
  }

  tick() {
    if (!this.isOpen || !LIVE.has(this.kind)) return false;
    // What is being read or copied stays as it is.
    const busy = this.body.contains(document.activeElement) || !getSelection().isCollapsed;
    return !busy && this.render();
  }

  close() {
    this.dialog.close();
    // The row that it was opened from may be gone by now: the list is not.
    const gone = !this.before?.checkVisibility?.();
    (gone ? this.pane?.querySelector("[tabindex='0']") : this.before)?.focus();
  }
}
