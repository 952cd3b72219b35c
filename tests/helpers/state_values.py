"""Arbitrary sessions and modes, for laws that hold for all of them."""

from hypothesis import strategies as st

from musterd.core.case import Mode
from musterd.core.claim import Budget, Claim, ClaimId, Owner, Phase, Row, Tally
from musterd.core.inhibitor import Inhibitor, What
from musterd.core.inhibitor import Mode as Inhibition
from musterd.core.session import Agent, Conversation, PidRef, Session, SessionId, Source, State
from musterd.core.state import Change, ClockMark, Modes
from musterd.core.stopgate import GateMode
from musterd.core.turn import Subagent, Turn

numbers = st.integers(min_value=0, max_value=2**63 - 1)
texts = st.text(max_size=40)
lists = st.lists(texts, max_size=3).map(tuple)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True).map(SessionId)

leaders = st.builds(PidRef, numbers, numbers, texts, numbers)
turns = st.builds(
    Turn,
    started=numbers,
    ended=numbers,
    settled=numbers,
    waiting=numbers,
    recovering=numbers,
    first=numbers,
    heard=numbers,
    turn_id=texts,
    settled_id=texts,
    subagents=st.lists(st.builds(Subagent, texts, numbers, st.booleans()), max_size=3).map(tuple),
    pending=lists,
)
inhibitors = st.builds(
    Inhibitor,
    number=numbers,
    what=st.frozensets(st.sampled_from(What), min_size=1),
    who=texts,
    why=texts,
    mode=st.sampled_from(Inhibition),
    uid=numbers,
    pid=numbers,
    session=texts,
    is_operators=st.booleans(),
)
sessions = st.builds(
    Session,
    id=ids,
    agent=st.sampled_from(Agent),
    uid=numbers,
    leader=st.none() | leaders,
    cwd=texts,
    host=texts,
    agent_session_id=texts,
    transcript=texts,
    terminal=texts,
    command=lists,
    resume_command=lists,
    environ=lists,
    title=texts,
    labels=lists,
    version=texts,
    executable=texts,
    started_usec=numbers,
    created_usec=numbers,
    resumed_usec=numbers,
    heartbeat_usec=numbers,
    state=st.sampled_from(State),
    state_source=st.sampled_from(Source),
    turn=turns,
    others=st.lists(st.builds(Conversation, texts, turns), max_size=2).map(tuple),
    protected=st.booleans(),
    ended_usec=numbers,
    ended_reason=texts,
    last_error=texts,
)
changes = st.builds(Change, numbers, numbers, texts)
marks = st.builds(ClockMark, texts, *[numbers] * 6, st.lists(numbers, max_size=6).map(tuple))
modes = st.builds(
    Modes,
    reaper=st.sampled_from(Mode),
    reaper_change=changes,
    auto_disabled_reason=texts,
    disarmed_users=st.lists(numbers, max_size=3).map(tuple),
    actions=st.lists(numbers, max_size=5).map(tuple),
    gate=st.sampled_from(GateMode),
    gate_change=changes,
    kill_switch=st.booleans(),
    kill_switch_change=changes,
    clock=marks,
)
tallies = st.builds(Tally, numbers, st.builds(Row, numbers, lists, st.booleans()))
claims = st.builds(
    Claim,
    id=ids.map(ClaimId),
    uid=numbers,
    task=texts,
    budget=st.sampled_from(Budget),
    deadline=numbers,
    phase=st.sampled_from(Phase),
    checklist=lists,
    done=lists,
    owner=st.builds(Owner, ids, st.none() | leaders, texts, texts, numbers),
    created_usec=numbers,
    finished_usec=numbers,
    enforced=tallies,
    shadowed=tallies,
)
