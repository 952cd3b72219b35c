"""What single hook calls and records mean: traps, and cases that real agents cannot be made to show."""

import json
import re
from contextlib import suppress
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musterd.agents.catalog import ADAPTERS
from musterd.agents.fields import integer, ordered, parse, usec
from musterd.agents.hooks import Extension
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Native, NativeState
from musterd.core.session import Agent
from musterd.core.turn import Turn, fold

from .captured import Captured
from .test_processes import process

K = EventKind

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NOW = 1_800_000_000_000_000


def spoken(agent: Agent, event: str, **payload: Any) -> AgentEvent:
    return ADAPTERS[agent].hook_event(event, payload, NOW)


@pytest.mark.parametrize(
    ("agent", "event", "payload", "kind"),
    [
        (Agent.PI, "agent_settled", {"is_idle": True, "has_pending_messages": False}, K.SETTLED),
        (Agent.PI, "agent_settled", {"is_idle": False}, K.TURN_END),
        (Agent.PI, "agent_settled", {"is_idle": True, "has_pending_messages": True}, K.TURN_END),
        (Agent.PI, "agent_end", {}, K.TURN_END),
        (Agent.PI, "agent_before_settle", {}, K.STOP),
        (Agent.PI, "session_shutdown", {"reason": "quit"}, K.SESSION_END),
        (Agent.PI, "session_shutdown", {"reason": "new"}, K.SESSION_END),
        (Agent.PI, "session_shutdown", {"reason": "reload"}, K.NOTE),
        (Agent.PI, "from_a_later_version", {}, K.NOTE),
        (Agent.CODEX, "Stop", {}, K.STOP),
        (Agent.CODEX, "Interrupt", {}, K.SETTLED),
        (Agent.CODEX, "PermissionRequest", {}, K.WAITING),
        (Agent.OPENCODE, "session.status", {"properties": {"status": {"type": "busy"}}}, K.WORK),
        (Agent.OPENCODE, "session.status", {"properties": {"status": {"type": "idle"}}}, K.SETTLED),
        (Agent.OPENCODE, "session.status", {"properties": {"status": {"type": "retry"}}}, K.RECOVERY_START),
        (Agent.OPENCODE, "session.status", {"properties": "busy"}, K.NOTE),
        (Agent.OPENCODE, "tool.execute.after", {}, K.NOTE),
        (Agent.OPENCODE, "session.created", {"properties": {"info": {"parentID": "p"}}}, K.SUBAGENT_START),
        (Agent.OPENCODE, "session.idle", {"parentID": "p"}, K.SUBAGENT_END),
        (Agent.GEMINI, "AfterAgent", {}, K.STOP),
        (Agent.GEMINI, "Notification", {"notification_type": "ToolPermission"}, K.WAITING),
        (Agent.GEMINI, "Notification", {"notification_type": "Other"}, K.NOTE),
        (Agent.GEMINI, "PreCompress", {"trigger": "auto"}, K.NOTE),
        (Agent.CLAUDE_CODE, "Stop", {}, K.STOP),
        (Agent.CLAUDE_CODE, "StopFailure", {"error": "rate_limit"}, K.TURN_END),
        (Agent.CLAUDE_CODE, "Notification", {"notification_type": "permission_prompt"}, K.WAITING),
        (Agent.CLAUDE_CODE, "Notification", {"notification_type": "idle_prompt"}, K.NOTE),
        (Agent.CLAUDE_CODE, "SessionEnd", {"reason": "clear"}, K.SESSION_END),
        (Agent.CLAUDE_CODE, "SessionEnd", {"reason": "prompt_input_exit"}, K.SESSION_END),
    ],
)
def test_kind(agent: Agent, event: str, payload: dict[str, Any], kind: EventKind) -> None:
    assert spoken(agent, event, **payload).kind is kind


@pytest.mark.parametrize(
    ("agent", "event", "payload", "is_cut"),
    [
        (Agent.CODEX, "Interrupt", {}, True),
        (Agent.CODEX, "Stop", {}, False),
        (Agent.CLAUDE_CODE, "StopFailure", {"error": "rate_limit"}, True),
        (Agent.CLAUDE_CODE, "Stop", {}, False),
        (Agent.PI, "agent_settled", {"aborted": True}, True),
        (Agent.PI, "agent_settled", {"aborted": False}, False),
        (Agent.PI, "agent_before_settle", {"outcome": "aborted"}, True),
        (Agent.PI, "agent_before_settle", {"outcome": "error"}, True),
        (Agent.PI, "agent_before_settle", {"outcome": "completed"}, False),
    ],
)
def test_who_was_interrupted_or_met_an_error(
    agent: Agent, event: str, payload: dict[str, Any], *, is_cut: bool
) -> None:
    assert spoken(agent, event, **payload).is_cut is is_cut


def test_the_first_work_of_a_turn_is_told_where_nothing_tells_of_prompts() -> None:
    busy, idle = ({"sessionID": "s", "status": {"type": kind}} for kind in ("busy", "idle"))
    assert spoken(Agent.OPENCODE, "session.status", properties=busy).begins
    assert not spoken(Agent.OPENCODE, "session.status", properties=idle).begins
    assert not spoken(Agent.OPENCODE, "tool.execute.before", sessionID="s").begins


def test_agents_without_hooks_take_none() -> None:
    for agent in (Agent.AIDER, Agent.OTHER):
        with pytest.raises(ValueError, match="no hooks"):
            spoken(agent, "Stop")


def test_claude_names_what_is_pending_when_it_stops() -> None:
    tasks, crons = [{"id": "1", "description": "make test"}], [{"id": "c1"}]
    assert spoken(Agent.CLAUDE_CODE, "Stop", background_tasks=tasks, session_crons=crons).pending == (
        "make test",
        "c1",
    )
    assert spoken(Agent.CLAUDE_CODE, "Stop").pending == ()
    assert spoken(Agent.CLAUDE_CODE, "PreToolUse").pending is None


def test_subagent_speaks_for_itself() -> None:
    codex = spoken(Agent.CODEX, "SubagentStop", session_id="s", agent_id="a")
    assert (codex.agent_session_id, codex.subagent) == ("s", "a")
    opencode = spoken(Agent.OPENCODE, "session.status", parentID="s", properties={"sessionID": "a"})
    assert (opencode.agent_session_id, opencode.subagent) == ("s", "a")


@pytest.mark.parametrize("agent", [Agent.CODEX, Agent.GEMINI])
def test_nothing_to_say_is_an_empty_object(agent: Agent) -> None:
    assert ADAPTERS[agent].nothing_to_say("Stop") == "{}"


@pytest.mark.parametrize("agent", [Agent.CLAUDE_CODE, Agent.PI, Agent.OPENCODE, Agent.OTHER])
def test_nothing_to_say_is_nothing(agent: Agent) -> None:
    assert ADAPTERS[agent].nothing_to_say("Stop") == ""


@pytest.mark.parametrize(
    ("agent", "decision"),
    [
        (Agent.CLAUDE_CODE, "block"),
        (Agent.CODEX, "block"),
        (Agent.PI, "block"),
        (Agent.GEMINI, "deny"),
        (Agent.OPENCODE, "block"),
    ],
)
def test_block_is_said_in_its_own_words(agent: Agent, decision: str) -> None:
    said = json.loads(ADAPTERS[agent].block("Stop", "tests fail"))
    assert said == {"decision": decision, "reason": "tests fail"}


def test_agents_that_cannot_be_held() -> None:
    for agent in (Agent.AIDER, Agent.OTHER):
        assert ADAPTERS[agent].block("Stop", "tests fail") == ""


def test_opencode_stays_settled_when_the_aborted_tool_reports_late() -> None:
    calls = Captured("opencode").calls("interrupted")
    events = [call["event"] for call in calls]
    late = max(row for row, event in enumerate(events) if event == "tool.execute.after")
    assert "session.idle" in events[:late]
    turn = Turn()
    for call in calls[: late + 1]:
        event = Captured("opencode").adapter.hook_event(
            call["event"], call["payload"], int(call["time"] * 1e6)
        )
        turn = fold(turn, event)
    assert turn.is_settled


def test_pi_recovers_while_it_compacts() -> None:
    pi, turn = Captured("pi"), Turn()
    calls = [call for call in pi.calls("compacted") if "compact" in call["event"]]
    assert [call["event"] for call in calls] == ["session_before_compact", "session_compact"]
    for call, recovering in zip(calls, (True, False), strict=True):
        turn = fold(
            turn, pi.adapter.hook_event(call["event"], call["payload"], int(call["time"] * 1_000_000))
        )
        assert bool(turn.recovering) is recovering


STATUS = (
    '{"pid": 9, "procStart": "5", "sessionId": "s", "kind": "interactive", "status": "%s", '
    '"statusUpdatedAt": 1700000000000}'
)


@pytest.mark.parametrize("state", NativeState)
def test_claude_status(state: NativeState) -> None:
    status = ADAPTERS[Agent.CLAUDE_CODE].status(STATUS % state, process("/opt/claude"))
    assert status == Native(state, "s", 1_700_000_000_000_000)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("another start time: the pid was used again", (STATUS % "idle").replace('"5"', '"6"')),
        ("another pid", (STATUS % "idle").replace("9,", "8,")),
        ("a background worker", (STATUS % "idle").replace("interactive", "bg")),
        ("no status, as with the SDK", (STATUS % "")),
        ("a status of a later version", STATUS % "dreaming"),
        ("cut off", (STATUS % "idle")[:40]),
        ("not an object", "[]"),
    ],
)
def test_claude_status_that_proves_nothing(case: str, text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ADAPTERS[Agent.CLAUDE_CODE].status(text, process("/opt/claude"))


def claude_turn(*lines: str) -> Turn:
    turn = Turn()
    for event in ADAPTERS[Agent.CLAUDE_CODE].records(lines).events:
        turn = fold(turn, event)
    return turn


PROMPT = '{"type":"user","timestamp":"2026-01-01T10:00:00.000Z","message":{"role":"user","content":"go"}}'
CALL = '{"type":"assistant","timestamp":"2026-01-01T10:00:01.000Z","message":{"stop_reason":"tool_use"}}'
ANSWER = '{"type":"assistant","timestamp":"2026-01-01T10:00:02.000Z","message":{"stop_reason":"end_turn"}}'
INTERRUPTED = (
    '{"type":"user","timestamp":"2026-01-01T10:00:03.000Z","message":{"content":'
    '[{"type":"text","text":"[Request interrupted by user for tool use]"}]}}'
)


@pytest.mark.parametrize(
    ("case", "lines", "working"),
    [
        ("asked", [PROMPT], True),
        ("calls a tool", [PROMPT, CALL], True),
        ("answered", [PROMPT, CALL, ANSWER], False),
        ("interrupted", [PROMPT, CALL, INTERRUPTED], False),
        ("its subagent goes on", [PROMPT, ANSWER, CALL.replace("{", '{"isSidechain":true,', 1)], False),
    ],
)  # fmt: skip
def test_claude_transcript(case: str, lines: list[str], working: bool) -> None:
    turn = claude_turn(*lines)
    assert turn.is_working is working
    assert not turn.settled  # its transcript alone is no proof


def test_text_that_comes_with_an_escape_is_no_end_for_gemini_unless_all_was_cancelled() -> None:
    answer = '{"functionResponse":{"response":{"error":"[Operation Cancelled] by user"}}}'
    done = '{"functionResponse":{"response":{"output":"ok"}}}'
    line = '{"type":"user","timestamp":"2026-01-01T10:00:00.000Z","content":[%s]}'
    kinds = [
        [event.kind for event in ADAPTERS[Agent.GEMINI].records([line % parts]).events]
        for parts in (answer, f"{answer},{answer}", f"{answer},{done}", done)
    ]
    assert kinds == [[K.SETTLED], [K.SETTLED], [K.WORK], [K.WORK]]


def test_history_that_gemini_writes_anew_after_an_escape_is_no_prompt() -> None:
    """As captured: a permission was denied, and a millisecond later all before it was written down again."""
    cancelled = '{"timestamp":"2026-11-21T14:52:00.915Z","type":"info","content":"Request cancelled."}'
    context = '{"text":"<session_context>\\nThis is the Gemini CLI. We are setting up the context"}'
    asked = '{"text":"please MOCK:sh=touch asked"}'
    line = '{"timestamp":"2026-11-21T14:52:00.916Z","type":"user","content":[%s]}'

    def kinds(*parts: str) -> list[EventKind]:
        records = ADAPTERS[Agent.GEMINI].records([cancelled, line % ",".join(parts)])
        return [event.kind for event in records.events]

    assert kinds(context, asked) == [K.SETTLED]
    assert kinds(asked) == kinds(asked, context) == kinds(context) == [K.SETTLED, K.WORK]


@given(st.integers(1, 2**40).map(lambda ms: ms * 1000))
def test_work_wins_a_tie_only_against_an_earlier_turn(at: int) -> None:
    def turn(*kinds: EventKind) -> Turn:
        folded = Turn()
        for kind in kinds:
            folded = fold(folded, AgentEvent(kind, ordered(kind, at)))
        return folded

    assert turn(K.WORK, K.SETTLED).is_settled
    assert not turn(K.SETTLED, K.TURN_START).is_settled
    assert not turn(K.TURN_START, K.SETTLED).is_settled


@given(st.lists(st.text()))
def test_parse_takes_whatever_a_file_holds(lines: list[str]) -> None:
    records, _ = parse(lines)
    assert len(records) <= len(lines)


@given(st.text())
def test_usec_takes_whatever_a_stamp_holds(text: str) -> None:
    assert isinstance(usec(text), int)


@pytest.mark.parametrize("text", ["", "yesterday", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_usec_of_what_is_no_time_of_an_agent(text: str) -> None:
    assert not 0 < usec(text) < NOW


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e400", "true", "null", '"5"'])
def test_number_that_is_none_is_missing(number: str) -> None:
    record = json.loads(f'{{"time": {number}}}')
    assert integer(record, "time") == 0


def test_usec() -> None:
    assert usec("2026-11-21T10:21:06.755Z") == usec("2026-11-21T11:21:06.755+01:00") == 1_795_256_466_755_000


@pytest.mark.parametrize("agent", [Agent.PI, Agent.CODEX, Agent.GEMINI, Agent.OPENCODE, Agent.CLAUDE_CODE])
@given(JSON)
def test_no_payload_breaks_an_adapter(agent: Agent, data: object) -> None:
    payload = dict.fromkeys(
        ("properties", "info", "time", "session_id", "background_tasks", "timestamp"), data
    )
    for event in ("Stop", "AfterAgent", "session.status", "agent_settled", "Notification"):
        with suppress(ValueError):  # refused: an id that is no text
            assert isinstance(ADAPTERS[agent].hook_event(event, payload, NOW), AgentEvent)


@pytest.mark.parametrize("agent", list(Agent))
@given(st.lists(st.text()))
def test_no_screen_or_transcript_breaks_an_adapter(agent: Agent, lines: list[str]) -> None:
    ADAPTERS[agent].screen("\n".join(lines))
    ADAPTERS[agent].records(lines)


@pytest.mark.parametrize("odd", ["/a\0b", "/a\ud800", "/" + "a" * 4096])
def test_ids_and_paths_that_no_message_can_hold_are_refused(odd: str) -> None:
    for key in ("cwd", "transcript_path", "session_id", "agent_id", "turn_id"):
        with pytest.raises(ValueError, match="is too long, or no text"):
            spoken(Agent.CODEX, "Stop", **{key: odd})


def test_half_a_character_in_a_title_costs_the_title_only() -> None:
    said = AgentEvent(EventKind.SETTLED, NOW, title="release \ud83d", detail="\0")
    assert said == AgentEvent(EventKind.SETTLED, NOW)


@pytest.mark.parametrize("agent", [agent for agent, adapter in ADAPTERS.items() if adapter.hooks])
def test_how_long_an_agent_waits_is_what_its_settings_are_told(agent: Agent) -> None:
    hooks = ADAPTERS[agent].hooks
    assert hooks
    if isinstance(hooks, Extension):
        source = (files("musterd.agents") / "extensions" / hooks.source).read_text()
        assert re.findall(r"^const ANSWER_WITHIN = (\d+)", source, re.MULTILINE) == [
            f"{hooks.limit * 1000:g}"
        ]
    else:
        assert hooks.timeout == hooks.limit * (1000 if agent is Agent.GEMINI else 1)
