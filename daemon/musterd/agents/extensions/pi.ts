// musterd's extension for pi: tells `musterd-hook pi EVENT` what happens in the session, as JSON on its standard
// input. It never makes pi wait, but for two moments: when a turn is about to settle (musterd may answer that its
// work is not finished) and when pi ends. Whatever goes wrong here, pi goes on.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";

const COMMAND = ["musterctl", "hook"]; // what it is where it was installed
const ANSWER_WITHIN = 2000; // ms

// With this signal musterd asks pi to leave, once it sees that we listen for it.
const LEAVE = "SIGUSR2";

// From agent_start to agent_settled is one turn: what happens within needs no word of its own.
const EVENTS = [
  "session_start", "agent_start", "agent_end", "agent_settled", "ui_prompt_start", "ui_prompt_end",
  "session_before_compact", "session_compact", "session_compact_failed",
];

function version(): string {
  try {
    for (let at = dirname(realpathSync(process.argv[1])); at !== dirname(at); at = dirname(at)) {
      try {
        const found = JSON.parse(readFileSync(join(at, "package.json"), "utf8"));
        if (String(found.name).endsWith("/pi-coding-agent")) return String(found.version);
      } catch {}
    }
  } catch {}
  return "";
}

const VERSION = version();

function told(event: any, ctx: any): string {
  return JSON.stringify({
    time: Date.now(),
    version: VERSION,
    session_id: ctx.sessionManager.getSessionId(),
    session_file: ctx.sessionManager.getSessionFile(),
    cwd: ctx.cwd,
    is_idle: ctx.isIdle(),
    has_pending_messages: ctx.hasPendingMessages(),
    reason: event.reason,
    aborted: event.aborted,
    outcome: event.outcome,
  });
}

function tell(name: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    try {
      const [command, ...args] = [...COMMAND, "pi", name];
      const child = spawn(command, args, { stdio: ["pipe", "pipe", "ignore"], timeout: ANSWER_WITHIN });
      let answer = "";
      child.stdout.setEncoding("utf8"); // what comes in pieces may be cut within a character
      child.stdout.on("data", (data) => { answer += data; });
      child.on("error", () => resolve(""));
      child.on("close", () => resolve(answer));
      child.stdin.on("error", () => {});
      child.stdin.end(text);
      child.unref();
    } catch {
      resolve("");
    }
  });
}

export default function (pi: any) {
  let last: any; // what pi can be asked by: a new one with each event, and with each conversation
  const on = (name: string, handle: (event: any, ctx: any) => Promise<any>) =>
    pi.on(name, async (event: any, ctx: any) => {
      last = ctx;
      try {
        return await handle(event, ctx);
      } catch {}
    });

  // Nothing can happen between these questions and the answer: it is all one turn of pi's own loop.
  const leave = () => {
    try {
      if (last.isIdle() && !last.hasPendingMessages() && !last.ui.getEditorText().trim()) last.shutdown();
    } catch {}
  };
  process.on(LEAVE, leave);

  for (const name of EVENTS) on(name, async (event, ctx) => { void tell(name, told(event, ctx)); });
  on("agent_before_settle", async (event, ctx) => {
    const answer = JSON.parse((await tell("agent_before_settle", told(event, ctx))) || "{}");
    if (answer.decision !== "block" || !answer.reason) return;
    const message = { type: "custom_message", customType: "musterd", content: String(answer.reason), display: true };
    return { entries: [...event.entries, message], continue: true };
  });
  on("session_shutdown", async (event, ctx) => {
    process.off(LEAVE, leave);
    const [command, ...args] = [...COMMAND, "pi", "session_shutdown"];
    spawnSync(command, args, { input: told(event, ctx), stdio: ["pipe", "ignore", "ignore"], timeout: ANSWER_WITHIN });
  });
}
