// Written by `zeta hook install opencode`; `zeta hook uninstall opencode` removes it.
// It asks zeta before and after each tool. When zeta is gone or fails, every tool goes on.
import { spawn } from "node:child_process"

const ZETA = "@ZETA@"

function ask(moment, event) {
  return new Promise((resolve) => {
    const done = (text) => {
      try {
        resolve(JSON.parse(text))
      } catch {
        resolve({})
      }
    }
    try {
      const child = spawn(ZETA, ["hook", "run", "opencode", moment], {
        stdio: ["pipe", "pipe", "ignore"],
        timeout: 5000,
      })
      let out = ""
      child.on("error", () => resolve({}))
      child.stdin.on("error", () => {})
      child.stdout.on("data", (data) => (out += data))
      child.on("close", () => done(out))
      child.stdin.end(JSON.stringify(event))
    } catch {
      resolve({})
    }
  })
}

function question({ permission, patterns, questions }) {
  if (permission) return `permission for ${permission}: ${(patterns ?? []).join(" ")}`
  return questions?.[0]?.question
}

export const Zeta = async ({ directory }) => {
  // A session that a session made works for it: for zeta, both are one agent.
  const parents = new Map()
  const agent = (id) => {
    let session = id
    while (parents.has(session)) session = parents.get(session)
    return { session, inner: session !== id, cwd: directory }
  }
  return {
    event: async ({ event }) => {
      const info = event.properties?.info ?? {}
      const id = info.id ?? event.properties?.sessionID
      const moment = {
        "session.created": "session-start",
        "session.idle": "stop",
        "session.deleted": "session-end",
        "permission.asked": "waiting",
        "question.asked": "waiting",
      }[event.type]
      if (!moment || !id) return
      if (moment === "session-start" && info.parentID) parents.set(id, info.parentID)
      const caller = agent(id)
      if (caller.inner && moment !== "waiting") return
      await ask(moment, { ...caller, question: question(event.properties) })
    },
    "tool.execute.before": async (input, output) => {
      const event = { ...agent(input.sessionID), tool: input.tool, args: output.args }
      const { deny } = await ask("before-tool", event)
      if (deny) throw new Error(deny)
    },
    "tool.execute.after": async (input, output) => {
      const args = input.args ?? output.metadata?.args
      const event = { ...agent(input.sessionID), tool: input.tool, args }
      const { tell } = await ask("after-tool", event)
      if (tell) output.output = `${output.output}\n\n${tell}`
    },
  }
}
