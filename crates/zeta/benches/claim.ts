// A claim tool like those that many agents use today, written for this bench: a bus is a
// directory of JSON messages, every call lists and parses all of them, and a guard file that only
// one can create holds while the check and the publishing run. `claim.ts acquire|release BUS ITEM`.
import { closeSync, openSync, readFileSync, readdirSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { randomUUID } from "node:crypto";

type Message = { topic: string; payload: any; id: string; from: string; to: string;
  timestamp: string; expiresAt: string };

const [verb, bus, item] = process.argv.slice(2);
const me = "otto-cli";

function messages(): Message[] {
  const found: Message[] = [];
  for (const name of readdirSync(bus)) {
    if (!name.endsWith(".json")) continue;
    try {
      found.push(JSON.parse(readFileSync(join(bus, name), "utf8")));
    } catch {
      // The file is being written, or belongs to another tool.
    }
  }
  return found;
}

/** Who holds the item: the newest action of each sender decides. */
function holders(): string[] {
  const now = new Date().toISOString();
  const last = new Map<string, Message>();
  for (const message of messages()) {
    if (message.topic !== "claim" || message.payload?.itemId !== item) continue;
    if (message.expiresAt < now) continue;
    const before = last.get(message.from);
    if (!before || before.timestamp <= message.timestamp) last.set(message.from, message);
  }
  return [...last.values()].filter((m) => m.payload.action === "claim").map((m) => m.from);
}

function publish(action: string) {
  const id = randomUUID();
  const now = Date.now();
  const message: Message = { topic: "claim", payload: { action, itemId: item }, id, from: me, to: "*",
    timestamp: new Date(now).toISOString(), expiresAt: new Date(now + 86_400_000).toISOString() };
  writeFileSync(join(bus, `${id}.json`), JSON.stringify(message, null, 2));
}

if (verb === "release") {
  publish("release");
} else {
  const guard = join(bus, `acquire-${encodeURIComponent(item)}.lock`);
  const fd = openSync(guard, "wx");
  writeFileSync(fd, String(process.pid));
  closeSync(fd);
  try {
    if (holders().some((holder) => holder !== me)) process.exit(1);
    publish("claim");
  } finally {
    unlinkSync(guard);
  }
}
