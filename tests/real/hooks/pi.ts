// Extension for pi that hands every event of a session's life to the command in MUSTERD_RECORD.
import { spawnSync } from "node:child_process";

const EVENTS = [
  "session_start", "session_shutdown", "session_before_switch", "session_before_compact", "session_compact",
  "session_compact_failed", "input", "agent_start", "turn_start", "turn_end", "agent_end", "agent_before_settle",
  "agent_settled", "tool_execution_start", "tool_execution_end", "ui_prompt_start", "ui_prompt_end", "user_bash",
];
const KEEP = ["reason", "aborted", "outcome", "kind", "title", "toolName", "toolCallId", "isError", "turnIndex",
  "willRetry", "source", "streamingBehavior", "previousSessionFile", "command"];

export default function (pi: any) {
  const record = process.env.MUSTERD_RECORD, log = process.env.MUSTERD_RECORD_LOG;
  if (!record || !log) return;
  for (const name of EVENTS) {
    pi.on(name, async (event: any, ctx: any) => {
      const last = event.messages?.at(-1) ?? event.message;
      const payload = {
        event: name,
        session_id: ctx.sessionManager.getSessionId?.(),
        session_file: ctx.sessionManager.getSessionFile?.(),
        cwd: ctx.cwd,
        pid: process.pid,
        mode: ctx.mode,
        is_idle: ctx.isIdle?.(),
        has_pending_messages: ctx.hasPendingMessages?.(),
        stop_reason: last?.stopReason,
        keys: Object.keys(event),
        ...Object.fromEntries(KEEP.filter((key) => key in event).map((key) => [key, event[key]])),
      };
      // Awaited before the agent goes on: otherwise the last events would not leave the process.
      spawnSync(record, [log, name], { input: JSON.stringify(payload), timeout: 5000 });
    });
  }
  pi.registerCommand("ask", {
    description: "opens a dialog",
    handler: async (_args: string, ctx: any) => { await ctx.ui.confirm("May I?", "A question to the user"); },
  });
}
