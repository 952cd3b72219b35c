// musterd's plugin for opencode: tells `musterd-hook opencode EVENT` what happens in its sessions, as JSON on its
// standard input. It never makes opencode wait. opencode lets nobody hold a turn: where musterd answers that the work
// is not finished, a new prompt says so, and says who sent it. Whatever goes wrong here, opencode goes on.
import { spawn } from "node:child_process"
import { readFileSync, realpathSync } from "node:fs"
import { dirname, join } from "node:path"

const COMMAND = ["musterctl", "hook"] // what it is where it was installed
const EVENTS = /^(session\.(created|status|idle|error|compacted)|permission\.|question\.)/
const ANSWER_WITHIN = 2000 // ms
const MARK = "[musterd] Your user did not write this. The stop gate asks you to go on:\n\n"

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

const tell = (name, payload) =>
  new Promise((resolve) => {
    try {
      const [command, ...args] = [...COMMAND, "opencode", name]
      const child = spawn(command, args, { stdio: ["pipe", "pipe", "ignore"], timeout: ANSWER_WITHIN })
      let answer = ""
      child.stdout.setEncoding("utf8") // what comes in pieces may be cut within a character
      child.stdout.on("data", (data) => { answer += data })
      child.on("error", () => resolve(""))
      child.on("close", () => resolve(answer))
      child.stdin.on("error", () => {})
      child.stdin.end(JSON.stringify(payload))
      child.unref()
    } catch {
      resolve("")
    }
  })

export const Musterd = async ({ client, directory }) => {
  const parents = new Map() // of subagents, by session
  const states = new Map() // the last one told, by session: it is published several times a turn
  const cut = new Set() // sessions whose turn ends by an interrupt or an error: nobody is asked to go on then

  const goOn = async (sessionID, answer) => {
    const { decision, reason } = JSON.parse(answer || "{}")
    if (decision !== "block" || !reason || states.get(sessionID) !== "idle") return // its user was faster
    await client.session.promptAsync({ path: { id: sessionID }, body: { parts: [{ type: "text", text: MARK + reason }] } })
  }

  return {
    event: async ({ event }) => {
      const { type, properties = {} } = event
      const { sessionID, info, status, permission } = properties
      if (info?.parentID) parents.set(info.id, info.parentID)
      if (!EVENTS.test(type)) return
      if (type === "session.error") cut.add(sessionID)
      const state = type === "session.idle" ? "idle" : type === "session.status" ? status?.type : undefined
      if (type === "session.status" && state === "idle") return // session.idle follows
      if (state) {
        if (states.get(sessionID) === state) return
        states.set(sessionID, state)
      }
      if (state === "busy") cut.delete(sessionID)
      const parentID = parents.get(sessionID)
      const asks = type === "session.idle" && !parentID && !cut.has(sessionID)
      const payload = { time: Date.now(), version: VERSION, directory, parentID, asks, properties: { sessionID, status, permission } }
      const answer = tell(type, payload)
      if (asks) answer.then((text) => goOn(sessionID, text)).catch(() => {})
    },
  }
}
