// Plugin for opencode that hands the events of a session's life to the command in MUSTERD_RECORD.
// Names the wanted events: at start alone about a hundred others are published.
import { spawnSync } from "node:child_process"

const WANTED = /^(session\.(?!diff|updated)|permission\.|question\.|todo\.|server\.instance\.disposed|global\.disposed)/

export const Record = async ({ directory }) => {
  const record = process.env.MUSTERD_RECORD, log = process.env.MUSTERD_RECORD_LOG
  if (!record || !log) return {}
  const send = (event, payload) =>
    spawnSync(record, [log, event], { input: JSON.stringify({ directory, pid: process.pid, ...payload }) })
  send("plugin", {})
  return {
    event: async ({ event }) => { if (WANTED.test(event.type)) send(event.type, { properties: event.properties }) },
    "tool.execute.before": async (input) => { send("tool.execute.before", input) },
    "tool.execute.after": async ({ tool, sessionID, callID }) => { send("tool.execute.after", { tool, sessionID, callID }) },
    dispose: async () => { send("dispose", {}) },
  }
}
