"""The stop gate over fakes: what is asked and when, what is counted and told, what failures come to."""

import asyncio
import itertools
import time
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from helpers.builders import MINUTE, SECOND
from helpers.fakes import ALICE, BOB, DISK_FULL, ROOT, FakeAgent
from helpers.held import Answering, Held
from helpers.wait import until
from musterd.core.config import Config, StopGateConfig
from musterd.core.errors import Failed, InvalidArgs, NoSuchSession, NotAuthorized
from musterd.core.evidence import Work
from musterd.core.pressure import Tier
from musterd.core.session import Agent, State
from musterd.core.spec import Spec
from musterd.core.stopgate import GateMode
from musterd.gatekeeper import LOOKS
from musterd.ports import Caller

ALLOWED = (False, "{}")


async def test_owner_is_held_with_all_reasons_and_goes_on() -> None:
    bench = await Held().begin()
    await bench.claiming.update(ALICE, bench.claim.id, {"checklist": ["write", "run"]})
    bench.alice.unfinished[bench.session.id] = Work(children=("make",), uncommitted=2, check="1 fails")
    reason = await bench.stop()
    for part in ("'tidy'", "write, run", "2 files", "make", "1 fails", bench.claim.id):
        assert part in reason
    assert bench.now().state is State.BUSY
    assert bench.log.kinds()[-1] == "held"
    assert bench.announcer.told[-1] == f"stop {bench.session.id} block True"


@pytest.mark.parametrize("is_end", [False, True])
async def test_a_hold_leaves_it_busy_and_a_stop_settles_it_as_before(*, is_end: bool) -> None:
    bench = Held()
    if is_end:
        bench.adapters[Agent.CODEX] = Answering()
    await bench.begin()
    assert await bench.stop()
    assert (bench.now().state, bench.now().turn.is_working) == (State.BUSY, True)
    assert await bench.stop() == ""
    assert bench.now().state is (State.IDLE if is_end else State.BUSY)  # the others settle by their records


def states_told(bench: Held) -> list[str]:
    return [record.text.partition(" (")[0] for record in bench.log.records if record.kind == "state"]


async def test_an_end_that_is_no_proof_makes_nobody_idle_who_asks_whether_the_turn_may_end() -> None:
    bench = await Held().begin()

    async def end_meanwhile() -> None:
        await bench.say("turn-end")
        assert bench.now().state is State.BUSY

    bench.alice.before_work = end_meanwhile
    before = states_told(bench)
    assert await bench.stop()
    assert states_told(bench) == before


async def test_who_ended_already_is_busy_while_it_is_asked_and_idle_again_only_if_it_is_let_go() -> None:
    bench = await Held().begin()
    seen: list[State] = []

    async def look() -> None:
        seen.append(bench.now().state)

    bench.alice.before_work = look
    await bench.say("turn-end")
    assert bench.now().state is State.IDLE
    assert await bench.stop()
    assert (seen, bench.now().state) == ([State.BUSY], State.BUSY)
    await bench.say("turn-end")
    assert await bench.stop() == ""  # for the same reasons
    assert (seen, bench.now().state) == ([State.BUSY, State.BUSY], State.IDLE)
    await bench.say("turn-end")  # nobody asks any more
    assert bench.now().state is State.IDLE


async def test_an_interrupt_while_it_is_asked_is_believed() -> None:
    bench = await Held().begin()

    async def interrupt() -> None:
        await bench.say("settled")
        assert bench.now().state is State.IDLE

    bench.alice.before_work = interrupt
    await bench.stop()


@pytest.mark.parametrize("mode", [GateMode.SHADOW, GateMode.OFF])
async def test_who_cannot_be_held_is_idle_when_it_says_so(mode: GateMode) -> None:
    bench = await Held().begin(mode)
    seen: list[State] = []

    async def look() -> None:
        seen.append(bench.now().state)

    bench.alice.before_work = look
    await bench.say("turn-end")
    assert await bench.stop() == ""
    assert set(seen) <= {State.IDLE}
    assert bench.now().state is State.IDLE


async def test_a_hold_is_counted_on_disk_before_the_agent_is_told() -> None:
    bench = await Held().begin()
    assert await bench.stop_with(1)
    on_disk = bench.store.claims[bench.claim.id]
    assert (on_disk.enforced.used, on_disk.enforced.row.holds, on_disk.shadowed.used) == (1, 1, 0)


async def test_a_hold_that_cannot_be_written_is_none() -> None:
    bench = await Held().begin()
    bench.store.failure = DISK_FULL
    assert await bench.stop() == ""
    assert "disk is full" in bench.last()[1]


async def test_budget_is_used_up_then_it_is_let_go_and_that_is_told() -> None:
    bench = await Held().begin()
    held = [bool(await bench.stop_with(number + 1)) for number in range(5)]
    assert held == [True, True, True, False, False]
    kind, text = bench.last()
    assert (kind, "budget of 3" in text) == ("let-go", True)
    assert bench.announcer.told[-1] == f"stop {bench.session.id} exhausted True"


async def test_five_in_a_row_for_one_prompt_and_a_prompt_begins_anew() -> None:
    bench = await Held().begin(budget="large")
    first = [bool(await bench.stop_with(number + 1)) for number in range(7)]
    await bench.say("turn-start", prompt="go on")
    second = [bool(await bench.stop_with(number + 1)) for number in range(7)]
    assert (first, second) == ([True] * 5 + [False] * 2, [True] * 5 + [False] * 2)
    assert bench.claimed().enforced.used == 10
    await bench.say("turn-start", prompt="go on")
    assert await bench.stop_with(9) == ""


async def test_another_claim_does_not_begin_the_row_anew() -> None:
    bench = await Held().begin(budget="large")
    assert all([await bench.stop_with(number + 1) for number in range(3)])
    await bench.claiming.release(ALICE, bench.claim.id)
    spec = {"session": bench.session.id, "task": "more", "budget": "large"}
    await bench.claiming.claim(ALICE, spec)
    assert [bool(await bench.stop_with(number + 1)) for number in range(3)] == [True, True, False]


async def test_a_prompt_while_nothing_is_claimed_counts_too() -> None:
    bench = await Held().begin()
    assert await bench.stop()
    await bench.claiming.release(ALICE, bench.claim.id)
    await bench.say("turn-start", prompt="go on")
    await bench.claiming.claim(ALICE, {"session": bench.session.id, "task": "tidy", "budget": "large"})
    assert all([await bench.stop_with(number + 1) for number in range(5)])


async def test_a_restart_begins_no_row_anew() -> None:
    bench = await Held().begin(budget="large")
    assert all([await bench.stop_with(number + 1) for number in range(4)])
    again = Held(past=bench)
    again.session, again.claim = bench.session, bench.claim
    await again.manager.load()
    assert [bool(await again.stop_with(number + 1)) for number in range(3)] == [True, False, False]
    await again.say("turn-start", prompt="go on")
    assert await again.stop_with(1)


async def test_our_own_words_are_no_prompt_of_its_user() -> None:
    bench = await Held().begin()
    reason = await bench.stop()
    await bench.say("turn-start", prompt=reason)
    await bench.say("turn-start")
    assert await bench.stop() == ""
    assert "same reasons" in bench.last()[1]
    await bench.say("turn-start")  # the turn had ended: this is another one
    assert await bench.stop()


async def test_in_shadow_nothing_is_held_and_history_tells_what_would_have_been() -> None:
    bench = await Held().begin(GateMode.SHADOW)
    assert await bench.stop_with(1) == ""
    assert bench.log.kinds()[-1] == "would-hold"
    assert bench.announcer.told[-1] == f"stop {bench.session.id} block False"
    claimed = bench.claimed()
    assert (claimed.shadowed.used, claimed.enforced.used) == (1, 0)


async def test_shadow_costs_enforce_nothing() -> None:
    bench = await Held().begin(GateMode.SHADOW)
    for number in range(6):
        await bench.stop_with(number + 1)
    assert bench.last()[0] == "let-go"
    await bench.gatekeeper.set_mode(BOB, "enforce", "it is time")
    assert [bool(await bench.stop_with(number + 1)) for number in range(4)] == [True] * 3 + [False]


async def test_off_asks_nothing_and_tells_nothing() -> None:
    bench = await Held().begin(GateMode.OFF)
    told, records = len(bench.announcer.told), len(bench.log.records)
    assert await bench.stop() == ""
    assert [line for line in bench.announcer.told[told:] if line.startswith("stop")] == []
    assert [record.kind for record in bench.log.records[records:] if record.kind == "stop"] == []
    assert not [line for line in bench.alice.told if line.startswith("work")]


async def test_who_owns_nothing_is_not_looked_at() -> None:
    bench = Held()
    await bench.manager.register(ALICE, Spec(pid=1, agent_session_id="t1"))
    await bench.gatekeeper.set_mode(BOB, "enforce", "a trial")
    assert await bench.say("stop") == ALLOWED
    assert not [line for line in bench.alice.told if line.startswith("work")]
    assert "claimed nothing" in bench.last()[1]


async def test_another_agent_in_the_same_directory_is_let_go_and_costs_the_owner_nothing() -> None:
    bench = await Held().begin()
    bench.alice.start(2)
    await bench.manager.register(ALICE, Spec(pid=2, agent_session_id="t2", cwd=bench.session.cwd))
    for _ in range(5):
        told = await bench.hooks.report_event(replace(ALICE, pid=2), Agent.CODEX, "stop", {"id": "t2"})
        assert told == ALLOWED
    assert bench.claimed().enforced.used == 0
    assert await bench.stop()


@pytest.mark.parametrize("speaker", ["", "t2"])
async def test_a_conversation_that_is_not_the_owners_is_let_go(speaker: str) -> None:
    bench = await Held().begin()
    assert await bench.stop(agent_session=speaker) == ""
    assert bench.claimed().enforced.used == 0


async def test_the_switch_is_felt_in_mid_turn() -> None:
    bench = await Held().begin()
    assert await bench.stop_with(1)
    await bench.gatekeeper.set_kill_switch(BOB, "something is wrong", on=True)
    assert await bench.stop_with(2) == ""
    await bench.gatekeeper.set_kill_switch(BOB, "it is well", on=False)
    assert await bench.stop_with(3)
    assert bench.store.modes.kill_switch is False
    assert bench.store.modes.kill_switch_change.why == "it is well"


LOOKING = "while work is looked for"
WRITING = "while the hold is written"


@pytest.mark.parametrize(
    ("what", "when"),
    [
        ("mode", LOOKING),
        ("mode", WRITING),
        ("kill-switch", LOOKING),
        ("kill-switch", WRITING),
        ("claim done", LOOKING),
        ("claim released", LOOKING),
        ("claim released", WRITING),
        ("inhibitor", LOOKING),
        ("pressure", LOOKING),
    ],
)
async def test_what_changes_while_it_is_asked_counts(what: str, when: str) -> None:
    bench = await Held().begin()
    changed = False

    async def change() -> None:
        nonlocal changed
        if changed:
            return
        changed = True
        match what:
            case "mode":
                await bench.gatekeeper.set_mode(BOB, "off", "now")
            case "kill-switch":
                await bench.gatekeeper.set_kill_switch(BOB, "now", on=True)
            case "claim done":
                await bench.claiming.update(ALICE, bench.claim.id, {"phase": "done"})
            case "claim released":
                await bench.claiming.release(ALICE, bench.claim.id)
            case "inhibitor":
                await bench.inhibiting.inhibit(ROOT, "stop", "ops", "now", "block", bench.session.id)
            case "pressure":
                bench.manager.pressure = replace(bench.manager.pressure, tier=Tier.CRITICAL)

    if when == LOOKING:
        bench.alice.before_work = change
    else:
        bench.store.before_claim = change
    assert await bench.stop_with(1) == ""
    assert changed
    assert bench.store.claims.keys() == ({bench.claim.id} if what != "claim released" else set())


async def test_a_stop_inhibitor_of_its_own_user_lets_nobody_off() -> None:
    bench = await Held().begin()
    await bench.inhibiting.inhibit(ALICE, "stop", "agent", "let me go", "block", bench.session.id)
    assert await bench.stop_with(1)
    await bench.inhibiting.inhibit(ROOT, "reap:stop", "ops", "a demo", "block", bench.session.id)
    assert await bench.stop_with(2) == ""


@pytest.mark.parametrize(
    "failure", [Failed("no warden"), NoSuchSession("gone"), RuntimeError("bug"), OSError()]
)
async def test_a_look_that_fails_lets_it_go(failure: Exception) -> None:
    bench = await Held().begin()
    bench.alice.unasked = failure
    assert await bench.stop() == ""
    assert bench.claimed().enforced.used == 0


async def test_what_is_not_known_in_time_lets_it_go() -> None:
    config = Config(stop_gate=StopGateConfig(hook_timeout=2))
    bench = await Held(config).begin()
    never = asyncio.Event()
    bench.alice.before_work = never.wait
    assert await bench.stop() == ""
    assert "not found in time" in bench.last()[1]
    bench.alice.before_work = lambda: asyncio.sleep(0)
    bench.alice.unfinished[bench.session.id] = Work(unknown=("git",))
    assert await bench.stop() == ""


async def test_a_disk_that_hangs_lets_it_go() -> None:
    bench = await Held(Config(stop_gate=StopGateConfig(hook_timeout=0.5))).begin()
    bench.store.before_claim = asyncio.Event().wait
    assert await bench.stop() == ""
    bench.store.before_claim = lambda: asyncio.sleep(0)
    assert bench.claimed().enforced.used <= 1


async def test_a_user_whose_work_is_slow_to_find_lets_nobody_else_off() -> None:
    bench = await Held().begin()
    bench.bob.start(2)
    theirs = await bench.manager.register(BOB, Spec(pid=2, agent_session_id="t2"))
    await bench.claiming.claim(BOB, {"session": theirs.id, "task": "slow"})
    bench.bob.before_work = asyncio.Event().wait
    bob, begun = replace(BOB, pid=2), asyncio.get_running_loop().time() - 54  # of the 60 s that a hook waits
    stops = [
        asyncio.create_task(bench.hooks.report_event(bob, Agent.CODEX, "stop", {"id": "t2"}, begun=begun))
        for _ in range(3 * LOOKS)
    ]
    await until(lambda: len([line for line in bench.bob.told if line.startswith("work")]) >= LOOKS)
    assert await bench.stop()
    assert set(await asyncio.gather(*stops)) == {ALLOWED}


async def test_what_the_call_waited_before_it_was_served_counts() -> None:
    bench = await Held().begin()
    now = asyncio.get_running_loop().time()
    alice, said = replace(ALICE, pid=1), {"id": "t1"}
    late = await bench.hooks.report_event(alice, Agent.CODEX, "stop", said, begun=now - 59.6)
    assert (late, bench.claimed().enforced.used) == (ALLOWED, 0)
    block, _ = await bench.hooks.report_event(alice, Agent.CODEX, "stop", said, begun=now)
    assert block


async def test_a_hook_that_does_not_wait_any_more_costs_no_hold() -> None:
    bench = await Held().begin()
    bench.gatekeeper.is_here = lambda caller: asyncio.sleep(0, caller.name != ALICE.name)
    assert await bench.stop() == ""
    assert "does not wait" in bench.last()[1]
    assert bench.claimed().enforced.used == 0


async def test_a_loop_that_stood_still_lets_it_go() -> None:
    bench = await Held(Config(stop_gate=StopGateConfig(hook_timeout=0.4))).begin()

    def stand_still() -> Awaitable[object]:
        time.sleep(0.5)
        return asyncio.sleep(0)

    bench.alice.before_work = stand_still
    assert await bench.stop() == ""
    bench.alice.before_work = lambda: asyncio.sleep(0)
    bench.store.before_claim = stand_still
    assert await bench.stop() == ""


async def test_a_turn_that_has_settled_lets_the_next_one_be_its_users() -> None:
    """An agent that does not hand on the prompt; its user interrupted the turn that was held."""
    bench = await Held().begin()
    assert await bench.stop()
    await bench.say("turn-start")  # our own words
    assert await bench.stop() == ""
    await bench.say("turn-start")
    assert await bench.stop()
    await bench.say("settled")
    await bench.say("turn-start")
    assert await bench.stop()


async def test_a_check_gets_its_own_time_at_the_most() -> None:
    config = StopGateConfig(hook_timeout=60.0, check_command=("check",), check_timeout=0.25)
    bench = await Held(Config(stop_gate=config)).begin()
    await bench.stop()
    assert bench.alice.patience == [0.25]


async def test_a_dialect_that_breaks_lets_it_go() -> None:
    class Broken(FakeAgent):
        def block(self, event: str, reason: str) -> str:
            raise RuntimeError("bug")

    bench = Held()
    bench.adapters[Agent.CODEX] = Broken()
    await bench.begin()
    assert await bench.stop() == ""


async def test_while_the_history_cannot_be_written_it_acts_as_off_and_says_so() -> None:
    bench = await Held().begin()
    bench.log.health = "the event log cannot be written: disk full"
    assert await bench.stop() == ""
    assert bench.gatekeeper.acting_mode is GateMode.OFF
    assert [reason for reason in bench.manager.health.reasons if "acts as off" in reason]
    bench.log.health = ""
    assert bench.manager.health.reasons == []
    assert await bench.stop()


async def test_a_gate_that_acts_as_off_and_is_switched_off_is_no_trouble_any_more() -> None:
    bench = await Held().begin()
    bench.log.health = "the event log cannot be written: disk full"
    assert len(bench.manager.health.reasons) == 2
    told = len(bench.announcer.told)
    await bench.gatekeeper.set_mode(BOB, "off", "it is, anyway")
    assert bench.manager.health.reasons == [bench.log.health]
    assert bench.announcer.told[told:] == ["gate Mode ModeUID ModeUSec ModeWhy", "Health HealthReasons"]


async def test_stops_at_once_are_counted_each() -> None:
    bench = await Held().begin(budget="large")
    both = await asyncio.gather(*(bench.stop() for _ in range(20)))
    assert len([reason for reason in both if reason]) == 1  # the rest would hear the same reasons
    assert bench.claimed().enforced.used == 1


async def test_stops_at_once_with_other_reasons_each_cost_a_hold_each() -> None:
    bench = await Held().begin(budget="large")
    numbers = itertools.count(1)

    async def find_more() -> None:
        bench.alice.unfinished[bench.session.id] = Work(uncommitted=next(numbers))

    bench.alice.before_work = find_more
    told = await asyncio.gather(*(bench.stop() for _ in range(20)))
    assert len([reason for reason in told if reason]) == 5  # in a row
    assert bench.claimed().enforced.used == bench.store.claims[bench.claim.id].enforced.used == 5


# Who may


@pytest.mark.parametrize("caller", [ALICE])
async def test_its_own_user_cannot_switch_it(caller: Caller) -> None:
    bench = await Held().begin()
    with pytest.raises(NotAuthorized):
        await bench.gatekeeper.set_mode(caller, "off", "let me go")
    with pytest.raises(NotAuthorized):
        await bench.gatekeeper.set_kill_switch(caller, "let me go", on=True)
    assert (bench.manager.modes.gate, bench.manager.modes.kill_switch) == (GateMode.ENFORCE, False)


async def test_a_mode_is_on_disk_with_who_when_and_why() -> None:
    bench = await Held().begin()
    change = bench.store.modes.gate_change
    assert (bench.store.modes.gate, change.by_uid, change.why) == (GateMode.ENFORCE, 1001, "a trial")
    assert "gate-mode" in bench.log.kinds()
    assert "gate Mode ModeUID ModeUSec ModeWhy" in bench.announcer.told
    with pytest.raises(InvalidArgs):
        await bench.gatekeeper.set_mode(BOB, "on", "")


async def test_a_mode_that_cannot_be_written_stays_as_it_was() -> None:
    bench = await Held().begin()
    bench.store.failure = DISK_FULL
    with pytest.raises(Failed):
        await bench.gatekeeper.set_mode(BOB, "off", "now")
    assert bench.manager.modes.gate is GateMode.ENFORCE


async def test_modes_of_reaper_and_gate_set_at_once_are_both_kept() -> None:
    bench = await Held().begin()
    await asyncio.gather(
        bench.reaper.set_mode(ROOT, "on", "a"),
        bench.gatekeeper.set_mode(ROOT, "shadow", "b"),
        bench.gatekeeper.set_kill_switch(ROOT, "c", on=True),
    )
    modes = bench.store.modes
    assert (modes.reaper.value, modes.gate, modes.kill_switch) == ("on", GateMode.SHADOW, True)


# Restarts


async def test_an_agent_that_musterd_brought_back_is_still_the_owner() -> None:
    bench = await Held().begin()
    bench.manager.roll.end(bench.now(), "reaped")
    bench.clock.time += MINUTE
    bench.alice.start(9)
    bench.alice.leaders[9] = replace(bench.alice.leaders[9], mark=bench.session.id)
    await bench.manager.register(ALICE, Spec(pid=9))
    bench.clock.time += SECOND
    said = {"id": "t1"}
    block, _ = await bench.hooks.report_event(replace(ALICE, pid=9), Agent.CODEX, "stop", said)
    assert block
    leader = bench.claimed().owner.leader
    assert leader is not None
    assert leader.pid == 9


async def test_an_agent_started_by_hand_in_the_same_terminal_is_not_the_owner() -> None:
    bench = await Held().begin()
    bench.manager.roll.end(bench.now(), "exited")
    bench.alice.start(9)
    spec = Spec(pid=9, agent_session_id="t1", terminal="tty1")
    other = await bench.manager.register(ALICE, spec)
    assert other.id != bench.session.id
    told = await bench.hooks.report_event(replace(ALICE, pid=9), Agent.CODEX, "stop", {"id": "t1"})
    assert told == ALLOWED


async def test_a_new_conversation_in_the_same_process_and_terminal_takes_the_stamp_along() -> None:
    bench = await Held().begin()
    await bench.say("session-start", agent_session="t2")
    assert await bench.stop(agent_session="t2")
    assert bench.claimed().owner.agent_session_id == "t2"
    assert await bench.stop_with(5, agent_session="t1") == ""
