"""What real agents showed at work never reads as idle, and at rest always does."""

import json

import pytest

from musterd.agents.codex import Codex
from musterd.core.event import EventKind
from musterd.core.session import State

from .captured import Captured, every

WORKING = ("streaming", "tool", "queued", "subagent", "asking", "killed")
RESTING = (
    "idle", "idle-after-tool", "draft", "interrupted", "interrupted-queued", "compacted", "answered",
    "idle-after-subagent", "idle-after-resume",
)  # fmt: skip


def name(value: object) -> str:
    return value.name if isinstance(value, Captured) else str(value)


@pytest.mark.parametrize("transcript_first", [False, True])
@pytest.mark.parametrize(("captured", "stage"), every(*WORKING), ids=name)
def test_working_never_reads_as_idle(captured: Captured, stage: str, transcript_first: bool) -> None:
    session = captured.session(stage, transcript_first=transcript_first)
    assert session.state in (State.BUSY, State.WAITING)
    assert not session.turn.is_settled


@pytest.mark.parametrize("transcript_first", [False, True])
@pytest.mark.parametrize(("captured", "stage"), every(*RESTING), ids=name)
def test_resting_reads_as_settled(captured: Captured, stage: str, transcript_first: bool) -> None:
    session = captured.session(stage, transcript_first=transcript_first)
    assert session.state is State.IDLE
    assert session.turn.is_settled
    assert not session.turn.waiting
    assert not session.turn.recovering
    assert not session.turn.subagents
    assert not session.turn.pending


@pytest.mark.parametrize(("captured", "stage"), every("resumed"), ids=name)
def test_turn_that_a_kill_cut_off_is_not_settled_by_a_resume(captured: Captured, stage: str) -> None:
    assert not captured.session(stage).turn.is_settled


@pytest.mark.parametrize(("captured", "stage"), every("asking", "dialog"), ids=name)
def test_question_is_waiting(captured: Captured, stage: str) -> None:
    assert captured.session(stage).state is State.WAITING


@pytest.mark.parametrize(("captured", "stage"), every(*WORKING), ids=name)
def test_working_never_reads_as_idle_from_its_transcript_alone(captured: Captured, stage: str) -> None:
    assert captured.session(stage, hooks=False).state is not State.IDLE


@pytest.mark.parametrize(
    ("captured", "stage"), every("idle", "idle-after-tool", "interrupted", "idle-after-resume"), ids=name
)
def test_resting_reads_as_idle_from_its_transcript_alone(captured: Captured, stage: str) -> None:
    assert captured.session(stage, hooks=False).state is State.IDLE


@pytest.mark.parametrize(("captured", "stage"), every(*RESTING, names=("pi-old",)), ids=name)
def test_old_pi_is_never_settled(captured: Captured, stage: str) -> None:
    assert not captured.session(stage).turn.settled


@pytest.mark.parametrize(("captured", "stage"), every(*WORKING, *RESTING), ids=name)
def test_transcript_parses_to_its_last_line(captured: Captured, stage: str) -> None:
    lines = captured.lines(stage, captured.session(stage))
    assert captured.adapter.records(lines).is_complete
    assert not captured.adapter.records([*lines, lines[-1][:20]]).is_complete


@pytest.mark.parametrize(("captured", "stage"), every("idle", "idle-after-resume"), ids=name)
def test_resting_session_can_be_resumed(captured: Captured, stage: str) -> None:
    session = captured.session(stage)
    assert session.agent_session_id
    assert session.agent_session_id in captured.adapter.resume_command(session)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<subagent_notification>\n{}\n</subagent_notification>", EventKind.NOTE),
        ("what is a <subagent_notification>?", EventKind.WORK),
    ],
)
def test_end_of_a_subagent_is_no_work_of_codex(text: str, kind: EventKind) -> None:
    """It is written down when it comes, in or after a turn."""
    parts = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": parts}
    row = {"timestamp": "2026-11-22T00:12:18.213Z", "type": "response_item", "payload": item}
    (said,) = Codex().records([json.dumps(row)]).events
    assert said.kind is kind
