// The cluster: a button in the bar that says how many nodes there are, and a picture of the nodes
// and their links behind it.

import { make, put, mark } from "./dom.js";
import { model } from "./model.js";
import { age } from "./clock.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [640, 340];
/** With more nodes than this, the picture has no names. */
const NAMED = 24;

/** The words for what a bridge says of itself. */
const STATES = {
  connected: "connected",
  away: "no server answers; what is on this machine goes on without it",
  waiting: "another machine may use this node's name",
  missing: "the store lost a stream: see zeta cluster status",
  stopped: "the bridge does not run",
};

function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** All nodes, this machine's first, with what is known of each. */
function nodesOf(cluster) {
  const agents = new Map();
  for (const agent of model.agents.values()) {
    if (agent.liveness !== "gone") agents.set(agent.node, (agents.get(agent.node) ?? 0) + 1);
  }
  const leases = new Map();
  for (const { node } of model.leases.values()) leases.set(node, (leases.get(node) ?? 0) + 1);
  const row = (node, tone, says) => ({
    node,
    tone,
    says,
    agents: agents.get(node) ?? 0,
    leases: leases.get(node) ?? 0,
  });
  const isConnected = cluster.state === "connected";
  const own = row(model.node ?? "this machine", isConnected ? "live" : "stuck", () => {
    return `this machine: ${STATES[cluster.state] ?? cluster.state}`;
  });
  const peers = cluster.peers.map(({ node, silent_since_us: since, is_verified: good }) => {
    if (!good) return row(node, "collision", () => "its key is not known, so it counts for nothing");
    if (since !== undefined) return row(node, "quiet", () => `silent for ${age(since)}`);
    return row(node, isConnected ? "live" : "quiet", () => "");
  });
  return [own, ...peers];
}

export class ClusterView {
  constructor(button, dialog) {
    Object.assign(this, { button, dialog });
    this.picture = dialog.querySelector("svg");
    this.facts = dialog.querySelector("dl");
    this.list = dialog.querySelector("ul");
    this.summary = button.querySelector("span:last-child");
    button.addEventListener("click", () => this.open());
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  open() {
    this.fill();
    this.dialog.showModal();
  }

  show(what) {
    if (!["all", "cluster", "node", "agents", "leases"].some((word) => what.has(word))) return false;
    const cluster = model.cluster;
    this.button.hidden = cluster === undefined;
    if (!cluster) return true;
    put(this.summary, cluster.summary);
    const isWell = cluster.state === "connected" && cluster.has_quorum !== false;
    mark(this.button, "data-tone", isWell ? "live" : "stuck");
    if (this.dialog.open) this.fill();
    return true;
  }

  tick() {
    if (this.dialog.open && model.cluster) this.fillList(nodesOf(model.cluster));
  }

  fill() {
    if (!model.cluster) return;
    const nodes = nodesOf(model.cluster);
    this.fillFacts(model.cluster);
    this.fillList(nodes);
    this.paint(nodes, model.cluster);
  }

  fillFacts(cluster) {
    const { server, epoch, since_us: since, no_grant_before_us: until, quorum, behind } = cluster;
    const facts = [["server", server ?? "not known"]];
    const words = cluster.has_quorum === false ? "too few servers: nothing can be written" : quorum;
    if (words !== undefined) facts.push(["quorum", words]);
    if (behind !== undefined) {
      const of = (values, messages) => `${count(values, "value")}, ${count(messages, "message")}`;
      facts.push(["behind", of(behind, cluster.messages_behind)]);
      facts.push(["to send", of(cluster.unsent, cluster.messages_unsent)]);
    }
    if (since !== undefined) facts.push(["since", age(since)]);
    if (epoch !== undefined) facts.push(["epoch", String(epoch)]);
    if (until !== undefined) facts.push(["no lease before", new Date(until / 1000).toISOString()]);
    this.facts.replaceChildren(
      ...facts.flatMap(([name, value]) => [make("dt", "", [name]), make("dd", "", [value])]),
    );
  }

  fillList(nodes) {
    while (this.list.children.length > nodes.length) this.list.lastChild.remove();
    while (this.list.children.length < nodes.length) {
      this.list.append(make("li", "", [make("b"), make("span")]));
    }
    nodes.forEach((node, at) => {
      const [name, text] = this.list.children[at].children;
      mark(this.list.children[at], "data-tone", node.tone);
      put(name, node.node);
      const says = [count(node.agents, "agent"), count(node.leases, "lease"), node.says()];
      put(text, ` ${says.filter(Boolean).join(", ")}`);
    });
  }

  /** Draws the server in the middle, and the nodes around it. */
  paint(nodes, { server, state }) {
    const [x0, y0] = [WIDTH / 2, HEIGHT / 2];
    const named = nodes.length <= NAMED;
    const radius = named ? 15 : Math.max(3, Math.min(12, 700 / nodes.length));
    const links = [];
    const signs = [];
    nodes.forEach((node, at) => {
      const angle = (2 * Math.PI * at) / nodes.length - Math.PI / 2;
      const [x, y] = [x0 + Math.cos(angle) * 250, y0 + Math.sin(angle) * 122];
      links.push(draw("line", { x1: x0, y1: y0, x2: x, y2: y, "data-tone": node.tone }));
      const sign = draw("g", { "data-tone": node.tone, class: at === 0 ? "own" : "" });
      sign.append(draw("title", {}, node.node), draw("circle", { cx: x, cy: y, r: radius }));
      if (named) {
        sign.append(draw("text", { x, y: y + 4.5 }, String(node.agents)));
        const short = node.node.length > 18 ? `${node.node.slice(0, 17)}…` : node.node;
        // Away from the link.
        const place = y < y0 ? y - radius - 6 : y + radius + 14;
        sign.append(draw("text", { x, y: place, class: "name" }, short));
      }
      signs.push(sign);
    });
    const name = server ?? "server";
    const hub = draw("g", { class: "hub", "data-tone": state === "connected" ? "live" : "quiet" });
    const half = Math.max(46, name.length * 3.6 + 14);
    hub.append(
      draw("rect", { x: x0 - half, y: y0 - 17, width: 2 * half, height: 34, rx: 7 }),
      draw("text", { x: x0, y: y0 + 4.5 }, name),
    );
    this.picture.replaceChildren(...links, ...signs, hub);
  }
}
