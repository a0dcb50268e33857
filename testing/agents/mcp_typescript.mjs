// The server of zeta, spoken to by the TypeScript client of the protocol
// (@modelcontextprotocol/client 2.4.0), in both eras.
//
//     node mcp_typescript.mjs ZETA DIR CLIENT
//
// DIR is an empty directory, CLIENT the directory of the client's package. Each line of the output is
// a check: "ok NAME  SEEN" or "FAILED NAME  SEEN".

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [zeta, dir, packageDir] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(join(packageDir, "dist", file)));
const { Client } = await load("index.mjs");
const { StdioClientTransport } = await load("stdio.mjs");

let failed = 0;
function check(name, good, seen = "") {
  const said = String(seen).split(/\s+/).join(" ").slice(0, 100);
  console.log(good ? "ok" : "FAILED", `${name}  ${said}`);
  if (!good) failed += 1;
}

// The client passes on hardly any variable by itself.
const env = {
  ...process.env,
  ZETA_STATE_DIR: join(dir, "state"),
  ZETA_BUS_DIR: join(dir, "bus"),
  HOME: dir,
};
mkdirSync(join(dir, "repo", ".git"), { recursive: true });

async function connected(mode, name) {
  const options = mode === "legacy" ? {} : { versionNegotiation: { mode } };
  const client = new Client({ name, version: "1" }, options);
  const server = { command: zeta, args: ["mcp"], env, cwd: join(dir, "repo"), stderr: "pipe" };
  const transport = new StdioClientTransport(server);
  let warned = "";
  transport.stderr?.on("data", (part) => (warned += part));
  await client.connect(transport);
  return { client, warned: () => warned };
}

// A warning of the client about a schema is a failure, too.
const warnings = [];
for (const word of ["warn", "error"]) console[word] = (...said) => warnings.push(said.join(" "));

for (const mode of ["legacy", "auto"]) {
  const one = await connected(mode, "ts-one");
  const two = await connected(mode, "ts-two");
  const call = (side, name, args = {}, options = {}) =>
    side.client.callTool({ name, arguments: args }, options);
  const text = (result) => result.content[0].text;
  const { tools } = await one.client.listTools();
  check(`${mode}: tools`, tools.length === 8, tools.map((tool) => tool.name));
  const granted = await call(one, "acquire", { name: "deploy" });
  check(`${mode}: granted`, !granted.isError, text(granted));
  const holder = granted._meta["zeta/answer"].agent;
  const held = await call(two, "acquire", { name: "deploy" });
  check(`${mode}: refused by name`, held.isError && text(held).includes(holder), text(held));
  const progress = [];
  const options = { onprogress: (one) => progress.push(one.message) };
  const waits = await call(two, "acquire", { name: "deploy", wait_s: 2 }, options);
  check(`${mode}: waiting`, waits._meta["zeta/answer"].outcome === "waiting", text(waits));
  check(`${mode}: progress`, progress[0]?.includes(holder), progress);
  const claimed = await call(one, "claim", { paths: ["src/**"] });
  check(`${mode}: claim`, !claimed.isError, text(claimed));
  const wrong = await call(one, "acquire", { name: 7 });
  check(`${mode}: wrong type`, wrong.isError && text(wrong).includes("a text"), text(wrong));
  const unknown = await call(one, "nosuch").catch((error) => error);
  check(`${mode}: unknown tool`, String(unknown.message).includes("nosuch"), unknown.message);
  const state = await one.client.readResource({ uri: "zeta://state" });
  check(`${mode}: resource`, JSON.parse(state.contents[0].text).nodes.length === 1);
  const version = one.client.getNegotiatedProtocolVersion?.() ?? "";
  check(`${mode}: version`, mode === "legacy" || version === "2026-07-28", version);
  const started = Date.now();
  await one.client.close();
  await two.client.close();
  check(`${mode}: closed`, Date.now() - started < 1500, `${Date.now() - started} ms`);
  check(`${mode}: no word on stderr`, one.warned() + two.warned() === "", one.warned());
}
check("no warning of the client", warnings.length === 0, warnings);
process.exit(failed ? 1 : 0);
