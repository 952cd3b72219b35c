// Plays the part of the agent for an extension: `extension.mjs FILE`, then one step a line of JSON on stdin, and one
// answer a line on stdout. Steps: ["event", NAME, EVENT], ["set", {what the context says}], ["signal"].
import { pathToFileURL } from "node:url"
import { createInterface } from "node:readline"

const said = { idle: true, pending: false, draft: "" }
const prompts = []
let left = 0

const context = {
  cwd: "/srv",
  sessionManager: { getSessionId: () => "one", getSessionFile: () => "/srv/one.jsonl" },
  isIdle: () => said.idle,
  hasPendingMessages: () => said.pending,
  ui: { getEditorText: () => said.draft },
  shutdown: () => { left += 1 },
}
const client = { session: { promptAsync: async (options) => { prompts.push(options) } } }

const module = await import(pathToFileURL(process.argv[2]))
const handlers = new Map()
let plugin
if (module.default) module.default({ on: (name, handler) => handlers.set(name, handler) })
else plugin = await module.Musterd({ client, directory: "/srv" })

const settled = () => new Promise((resolve) => setTimeout(resolve, 0))

const steps = {
  event: async (name, event) => {
    const result = plugin ? await plugin.event({ event: { type: name, ...event } }) : await handlers.get(name)?.(event, context)
    return result ?? null
  },
  set: async (values) => { Object.assign(said, values) },
  // As from outside; in its own loop a signal is an event like another.
  signal: async () => { process.emit("SIGUSR2"); await settled(); return left },
  listens: async () => process.listenerCount("SIGUSR2"),
  prompts: async () => prompts,
}
for await (const line of createInterface({ input: process.stdin })) {
  const [step, ...rest] = JSON.parse(line)
  console.log(JSON.stringify((await steps[step](...rest)) ?? null))
}
