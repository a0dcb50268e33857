// The band at the top: who waits for a person, what is stuck, and what is about to collide.

import { make, put, mark } from "./dom.js";
import { model, agentOrder, leaseOrder } from "./model.js";
import { age, longLength, now } from "./clock.js";
import { drawSoon } from "./frame.js";
import { agentState } from "./words.js";

/** Rows of one kind that exist at most; the lists below have all. */
const ROWS = 50;

const namesOf = {
  agent: (key) => [model.agents.get(key).name, key],
  lease: (key) => {
    const { node, name, subject } = model.leases.get(key);
    return [subject, name, `${node}/${name}`];
  },
};

const subjects = new WeakMap();

/** Finds the row that a finding is about; looked for once, as long as the row is there. */
function subjectOf(finding) {
  const rows = { agent: model.agents, lease: model.leases };
  let found = subjects.get(finding);
  if (found === undefined || (found && !rows[found.kind].has(found.key))) {
    const named = (kind) => (key) => {
      const { node } = rows[kind].get(key);
      return (finding.node ?? node) === node && namesOf[kind](key).includes(finding.about);
    };
    const [agent, lease] = [agentOrder().find(named("agent")), leaseOrder().find(named("lease"))];
    found =
      (agent && { kind: "agent", key: agent }) ?? (lease && { kind: "lease", key: lease }) ?? null;
    subjects.set(finding, found);
  }
  return found ? { ...found, row: rows[found.kind].get(found.key) } : undefined;
}

/** Most characters of a path in a sentence; the last part of it is never cut. */
const PATH = 28;

/** The text of a finding; of a long path in it, only the end is read. */
function shortened({ about, message }) {
  if (!about.startsWith("/") || about.length <= PATH) return message;
  const parts = about.split("/").slice(-3);
  while (parts.length > 1 && parts.join("/").length > PATH) parts.shift();
  return message.replaceAll(about, `…/${parts.join("/")}`);
}

/** Who stands in line for the lease that is stuck. */
function inLine(subject) {
  if (subject?.kind !== "lease" || subject.row.waiters.length === 0) return "";
  const [first, second, ...others] = subject.row.waiters.map(
    ({ agent, pid }) => agent ?? `pid ${pid}`,
  );
  const names = [first, second, others.length && `${others.length} more`]
    .filter(Boolean)
    .join(", ");
  return `; in line: ${names}`;
}

const sinceOf = (subject) => {
  if (!subject) return undefined;
  const row = subject.row;
  return subject.kind === "agent"
    ? row.beat_at_us
    : (row.waiters[0]?.since_us ?? row.expires_at_us);
};

function personRows() {
  const rows = [];
  for (const key of agentOrder()) {
    const agent = model.agents.get(key);
    if (!agent.waits) break; // They stand first.
    const { question, since_us: since } = agent.waits;
    rows.push({ id: `agent ${key}`, who: agent.name, text: question, since, open: ["agent", key] });
  }
  return rows;
}

function findingRows(urgency, known) {
  const rows = [];
  for (const finding of model.findings) {
    if (finding.urgency !== urgency) continue;
    const subject = subjectOf(finding);
    const { finding: word, node = "", about } = finding;
    const id = subject ? `${subject.kind} ${subject.key}` : `${word} ${node} ${about}`;
    if (known.has(id)) continue;
    known.add(id);
    const who = subject?.kind === "agent" ? subject.row.name : (subject?.row.subject ?? "");
    const text = shortened(finding) + inLine(subject);
    const open = subject ? [subject.kind, subject.key] : ["finding", finding];
    rows.push({ id: `${urgency} ${id}`, who, text, since: sinceOf(subject), open, finding });
  }
  return rows;
}

/** Agents that hang or were stopped are stuck, also while no finding says so yet. */
function stuckRows() {
  const known = new Set();
  const rows = findingRows("stuck", known);
  for (const key of agentOrder()) {
    const agent = model.agents.get(key);
    const [word, , tone] = agentState(agent);
    if (tone !== "stuck" && tone !== "person") break;
    if (tone !== "stuck" || known.has(`agent ${key}`)) continue;
    const row = { who: agent.name, text: `${word}: ${agent.evidence}`, since: agent.beat_at_us };
    rows.push({ id: `stuck agent ${key}`, ...row, open: ["agent", key] });
  }
  return rows;
}

export class Needs {
  constructor(root, said, open) {
    this.said = said;
    this.open = open;
    this.spoken = new Set();
    this.ages = () => this.writeAges();
    this.boxes = [...root.querySelectorAll("[data-need]")].map((box) => ({
      box,
      need: box.dataset.need,
      list: box.querySelector("ul"),
      count: box.querySelector("h3 b"),
      none: box.querySelector(".none"),
      rows: new Map(),
    }));
  }

  show(what) {
    if (!["all", "agents", "leases", "findings"].some((word) => what.has(word))) return false;
    const person = personRows();
    const known = new Set(person.map((row) => row.id));
    person.push(...findingRows("person", known));
    const found = { person, stuck: stuckRows(), collision: findingRows("collision", new Set()) };
    this.boxes.forEach((box) => this.fill(box, found[box.need]));
    this.say(found, what.has("all"));
    const [waiting, stuck] = [found.person.length, found.stuck.length];
    const signs = [waiting && `${waiting} wait`, stuck && `${stuck} stuck`].filter(Boolean);
    document.title = signs.length ? `(${signs.join(", ")}) zeta` : "zeta";
    return true;
  }

  fill(box, found) {
    mark(box.box, "data-count", String(found.length));
    put(box.count, String(found.length));
    box.none.hidden = found.length > 0;
    box.list.hidden = found.length === 0;
    const shown = found.slice(0, ROWS);
    const wanted = new Set(shown.map((row) => row.id));
    for (const [id, made] of box.rows) {
      if (!wanted.has(id)) {
        made.item.remove();
        box.rows.delete(id);
      }
    }
    shown.forEach((row, place) => {
      let made = box.rows.get(row.id);
      if (!made) box.rows.set(row.id, (made = this.makeRow()));
      made.row = row;
      // A sentence that names its subject shows that name in bold, and is not told it twice.
      const at = row.who ? row.text.indexOf(row.who) : -1;
      put(made.before, at < 0 ? "" : row.text.slice(0, at));
      put(made.who, row.who);
      put(made.text, at < 0 ? ` ${row.text}` : row.text.slice(at + row.who.length));
      const there = box.list.children[place] ?? null;
      if (there !== made.item) box.list.insertBefore(made.item, there);
    });
    this.tick();
  }

  makeRow() {
    const [before, who, text] = [make("span"), make("b"), make("span")];
    const since = make("span", "age");
    const what = make("span", "what", [before, who, text]);
    const button = make("button", "need-row", [what, since], { type: "button" });
    const made = { item: make("li", "", [button]), before, who, text, since, row: undefined };
    button.addEventListener("click", () => this.open(...made.row.open));
    return made;
  }

  tick() {
    drawSoon(this.ages);
  }

  writeAges() {
    for (const box of this.boxes) {
      for (const { row, since } of box.rows.values()) {
        const words =
          box.need === "person" ? row.since && longLength(now() - row.since) : age(row.since);
        put(since, words ?? "");
      }
    }
  }

  /** Says what is new, and only that: a reader of the screen is not disturbed by beats. */
  say(found, first) {
    const all = [...found.person, ...found.stuck, ...found.collision];
    const fresh = all.filter((row) => !this.spoken.has(row.id));
    this.spoken = new Set(all.map((row) => row.id));
    if (first && fresh.length > 3) {
      const counts = `${found.person.length} wait for you, ${found.stuck.length} stuck`;
      put(this.said, `${counts}, ${found.collision.length} about to collide`);
    } else if (fresh.length > 0) {
      put(this.said, fresh.map((row) => `${row.who}: ${row.text}`).join(". "));
    }
  }
}
