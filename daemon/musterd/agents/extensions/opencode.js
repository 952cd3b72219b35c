// musterd's plugin for opencode: tells `musterctl hook opencode EVENT` what happens in its sessions, as JSON on its
// standard input. It never makes opencode wait. Whatever goes wrong here, opencode goes on.
import { spawn } from "node:child_process"
import { readFileSync, realpathSync } from "node:fs"
import { dirname, join } from "node:path"

const COMMAND = ["musterctl", "hook"] // what it is where it was installed
const EVENTS = /^(session\.(created|status|idle|error|compacted)|permission\.|question\.)/
const ANSWER_WITHIN = 2000 // ms

const version = () => {
  try {
    const text = readFileSync(join(dirname(dirname(realpathSync(process.execPath))), "package.json"), "utf8")
    const found = JSON.parse(text)
    return found.name === "opencode-ai" ? found.version : ""
  } catch {
    return ""
  }
}

const VERSION = version()

const tell = (name, payload) => {
  try {
    const [command, ...args] = [...COMMAND, "opencode", name]
    const child = spawn(command, args, { stdio: ["pipe", "ignore", "ignore"], timeout: ANSWER_WITHIN })
    child.on("error", () => {})
    child.stdin.on("error", () => {})
    child.stdin.end(JSON.stringify(payload))
    child.unref()
  } catch {}
}

export const Musterd = async ({ directory }) => {
  const parents = new Map() // of subagents, by session
  const states = new Map() // the last one told, by session: it is published several times a turn
  return {
    event: async ({ event }) => {
      const { type, properties = {} } = event
      const { sessionID, info, status, permission } = properties
      if (info?.parentID) parents.set(info.id, info.parentID)
      if (!EVENTS.test(type)) return
      if (type === "session.status") {
        if (states.get(sessionID) === status?.type) return
        states.set(sessionID, status?.type)
      }
      const parentID = parents.get(sessionID)
      tell(type, { time: Date.now(), version: VERSION, directory, parentID, properties: { sessionID, status, permission } })
    },
  }
}
