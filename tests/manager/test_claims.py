"""Claims over fakes: whose they are, how many there may be, what is on disk, and when they are forgotten."""

import asyncio
from dataclasses import replace

import pytest

from helpers.builders import MINUTE, NOW
from helpers.fakes import ALICE, BOB, DISK_FULL, ROOT
from helpers.held import Held
from musterd.claims import FINISHED_PER_SESSION, FINISHED_PER_USER
from musterd.core.claim import Claim, Row
from musterd.core.config import Config, LimitsConfig
from musterd.core.errors import AccessDenied, Failed, InvalidArgs, LimitReached, NoSuchClaim, NoSuchSession
from musterd.core.session import Session
from musterd.core.spec import Spec
from musterd.ports import Caller


async def test_claim_of_the_session_that_the_caller_is_in() -> None:
    bench = Held()
    session = await bench.manager.register(ALICE, Spec(pid=1, agent_session_id="t1"))
    bench.alice.parents[50] = 1
    claim = await bench.claiming.claim(ALICE, {"task": "tidy"})
    assert (claim.owner.session, claim.owner.leader, claim.owner.agent_session_id) == (
        session.id,
        session.leader,
        "t1",
    )
    assert bench.store.claims == {claim.id: claim}
    assert bench.announcer.told[-1] == "claims 1"


async def test_claims_of_others_are_theirs() -> None:
    bench = await Held().begin()
    carol = Caller(1002, 9, ":1.9")
    with pytest.raises(AccessDenied):
        await bench.claiming.claim(carol, {"session": bench.session.id, "task": "x"})
    with pytest.raises(AccessDenied):
        await bench.claiming.update(carol, bench.claim.id, {"phase": "done"})
    with pytest.raises(AccessDenied):
        await bench.claiming.release(carol, bench.claim.id)
    assert bench.claiming.visible(carol) == []
    assert bench.claiming.visible(ALICE) == bench.claiming.visible(ROOT) == [bench.claimed()]


async def test_no_update_moves_the_stamp() -> None:
    bench = await Held().begin()
    with pytest.raises(InvalidArgs):
        await bench.claiming.update(ALICE, bench.claim.id, {"session": "zzzzzz"})
    await bench.claiming.update(ALICE, bench.claim.id, {"task": "other", "phase": "active"})
    assert bench.claimed().owner == bench.claim.owner


async def test_a_claim_that_is_not_there_and_a_session_that_has_ended() -> None:
    bench = await Held().begin()
    with pytest.raises(NoSuchClaim):
        await bench.claiming.update(ALICE, "c0", {})
    bench.manager.roll.end(bench.now(), "exited")
    with pytest.raises(NoSuchSession):
        await bench.claiming.claim(ALICE, {"session": bench.session.id, "task": "x"})


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        (LimitsConfig(claims_per_session=3), "this session has 3"),
        (LimitsConfig(claims_per_user=3), "user 1000 has 3"),
        (LimitsConfig(claims=3), "there are 3"),
    ],
)
async def test_active_claims_are_limited(limits: LimitsConfig, refusal: str) -> None:
    bench = await Held(Config(limits=limits)).begin()
    spec = {"session": bench.session.id, "task": "more"}
    for _ in range(2):
        await bench.claiming.claim(ALICE, spec)
    with pytest.raises(LimitReached, match=refusal):
        await bench.claiming.claim(ALICE, spec)
    await bench.claiming.update(ALICE, bench.claim.id, {"phase": "done"})
    await bench.claiming.claim(ALICE, spec)


async def ended_with_claims(bench: Held, pid: int, count: int) -> list[Claim]:
    bench.alice.start(pid)
    session = await bench.manager.register(ALICE, Spec(pid=pid))
    claims = [
        await bench.claiming.claim(ALICE, {"session": session.id, "task": f"{number}"})
        for number in range(count)
    ]
    bench.manager.roll.end(session, "exited")
    return claims


@pytest.mark.parametrize("limits", [LimitsConfig(claims_per_user=4), LimitsConfig(claims=4)])
async def test_claims_of_sessions_that_ended_give_way_the_oldest_first(limits: LimitsConfig) -> None:
    bench = await Held(Config(limits=limits)).begin()
    first, second, third = await ended_with_claims(bench, 2, 3)
    spec = {"session": bench.session.id, "task": "more"}
    await bench.claiming.claim(ALICE, spec)
    claims = bench.manager.claims
    assert [claims.get(claim.id).phase.value for claim in (first, second, third)] == [
        "abandoned",
        "active",
        "active",
    ]
    assert bench.store.claims[first.id] == claims.get(first.id)
    assert any(f"'{first.id}' is abandoned" in record.text for record in bench.log.records)
    for _ in range(2):
        await bench.claiming.claim(ALICE, spec)
    with pytest.raises(LimitReached):  # what is left is of one that lives
        await bench.claiming.claim(ALICE, spec)
    assert bench.claimed() == bench.claim


async def test_claims_of_sessions_that_ended_stay_as_long_as_there_is_room() -> None:
    bench = await Held(Config(limits=LimitsConfig(claims_per_user=4))).begin()
    waiting = await ended_with_claims(bench, 2, 2)
    await bench.claiming.claim(ALICE, {"session": bench.session.id, "task": "more"})
    assert [bench.manager.claims.get(claim.id) for claim in waiting] == waiting


async def test_nothing_gives_way_to_a_claim_that_is_refused_for_its_own_session() -> None:
    bench = await Held(Config(limits=LimitsConfig(claims_per_session=1, claims=3))).begin()
    (waiting,) = await ended_with_claims(bench, 2, 1)
    (also_waiting,) = await ended_with_claims(bench, 3, 1)
    with pytest.raises(LimitReached, match="this session has 1"):
        await bench.claiming.claim(ALICE, {"session": bench.session.id, "task": "more"})
    assert [claim for claim in bench.manager.claims if not claim.is_finished] == [
        bench.claim,
        waiting,
        also_waiting,
    ]


async def test_nobodys_claims_give_way_to_the_many_of_another_user() -> None:
    bench = await Held(Config(limits=LimitsConfig(claims=5))).begin()
    bench.bob.start(7)
    bobs = await bench.manager.register(BOB, Spec(pid=7))
    lonely = await bench.claiming.claim(BOB, {"session": bobs.id, "task": "bob's"})
    bench.manager.roll.end(bobs, "exited")
    oldest, *_ = await ended_with_claims(bench, 2, 3)
    await bench.claiming.claim(ALICE, {"session": bench.session.id, "task": "more"})
    active = [claim for claim in bench.manager.claims if not claim.is_finished]
    assert lonely in active
    assert oldest not in active


async def finish(bench: Held, session: Session, count: int) -> None:
    for _ in range(count):
        claim = await bench.claiming.claim(ALICE, {"session": session.id, "task": "short"})
        await bench.claiming.update(ALICE, claim.id, {"phase": "abandoned"})


async def test_finished_claims_are_forgotten_but_the_last_of_a_session() -> None:
    bench = await Held().begin()
    await finish(bench, bench.session, FINISHED_PER_SESSION + 5)
    kept = bench.manager.claims.of(bench.session.id)
    assert len([claim for claim in kept if claim.is_finished]) == FINISHED_PER_SESSION
    assert bench.store.claims.keys() == {claim.id for claim in kept}
    assert bench.claimed() in kept


async def test_finished_claims_of_all_sessions_of_a_user_are_forgotten_but_the_last() -> None:
    """Sessions that have ended are remembered for long, and with them what they had claimed."""
    bench = await Held().begin()
    for pid in range(2, 3 + FINISHED_PER_USER // FINISHED_PER_SESSION):
        bench.alice.start(pid)
        session = await bench.manager.register(ALICE, Spec(pid=pid))
        await finish(bench, session, FINISHED_PER_SESSION)
        bench.manager.roll.end(session, "exited")
    finished = [claim for claim in bench.manager.claims if claim.is_finished]
    assert len(finished) == FINISHED_PER_USER
    assert bench.manager.claims.of(session.id) == finished[-FINISHED_PER_SESSION:]
    assert bench.store.claims.keys() == {claim.id for claim in bench.manager.claims}


async def test_a_claim_that_cannot_be_written_is_none() -> None:
    bench = await Held().begin()
    bench.store.failure = DISK_FULL
    with pytest.raises(Failed):
        await bench.claiming.claim(ALICE, {"session": bench.session.id, "task": "x"})
    with pytest.raises(Failed):
        await bench.claiming.update(ALICE, bench.claim.id, {"phase": "done"})
    assert bench.manager.claims.of(bench.session.id) == [bench.claim]


async def test_claims_go_with_their_session() -> None:
    bench = await Held().begin()
    await bench.manager.release(ALICE, bench.session.id)
    assert bench.store.claims == {}
    assert list(bench.manager.claims) == []


async def test_nothing_is_remembered_of_a_session_that_was_released() -> None:
    bench = await Held().begin()
    assert await bench.stop()
    await bench.manager.release(ALICE, bench.session.id)
    assert bench.manager.claims.row(bench.session.id, enforced=True) == Row()


async def test_claims_at_once_do_not_pass_the_limit_together() -> None:
    bench = await Held(Config(limits=LimitsConfig(claims_per_session=3))).begin()
    spec = {"session": bench.session.id, "task": "more"}
    made = await asyncio.gather(
        *(bench.claiming.claim(ALICE, spec) for _ in range(5)), return_exceptions=True
    )
    assert [type(one) for one in made].count(LimitReached) == 3
    assert len(bench.manager.claims.active(bench.session.id)) == len(bench.store.claims) == 3


async def test_a_write_that_fails_takes_back_no_later_one() -> None:
    bench = await Held().begin()
    failed = asyncio.Event()

    async def fail_late() -> None:
        bench.store.before_claim = lambda: asyncio.sleep(0)
        await failed.wait()
        raise DISK_FULL

    bench.store.before_claim = fail_late
    first = asyncio.create_task(bench.claiming.update(ALICE, bench.claim.id, {"task": "first"}))
    await asyncio.sleep(0)
    await bench.claiming.update(ALICE, bench.claim.id, {"task": "second"})
    failed.set()
    with pytest.raises(Failed):
        await first
    assert bench.claimed().task == "second"


async def test_when_one_claim_cannot_be_written_it_is_known_what_became_of_the_other() -> None:
    bench = await Held().begin()
    other = await bench.claiming.claim(ALICE, {"session": bench.session.id, "task": "sweep"})

    async def fail_first() -> None:
        bench.store.before_claim = take_long
        raise DISK_FULL

    async def take_long() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    bench.store.before_claim = fail_first
    with pytest.raises(Failed):
        await bench.manager.claims.put(replace(bench.claim, task="first"), replace(other, task="second"))
    assert (bench.claimed().task, bench.store.claims[bench.claim.id].task) == ("tidy", "tidy")
    assert (bench.manager.claims.get(other.id).task, bench.store.claims[other.id].task) == (
        "second",
        "second",
    )


@pytest.mark.parametrize(
    ("case", "values", "later", "is_kept"),
    [
        ("active", {}, 0, True),
        ("done", {"phase": "done"}, 0, False),
        ("abandoned", {"phase": "abandoned"}, 0, False),
        ("within its deadline", {}, 59 * MINUTE, True),
        ("past its deadline", {}, 61 * MINUTE, False),
    ],
)
async def test_an_open_claim_keeps_its_session_from_being_reaped(
    case: str, values: dict[str, object], later: int, *, is_kept: bool
) -> None:
    bench = await Held().begin(deadline=NOW + 60 * MINUTE)
    await bench.claiming.update(ALICE, bench.claim.id, values)
    bench.clock.time += later
    explanation, _ = await bench.judge.explain(bench.now())
    (evidence,) = [gate.finding.evidence for gate in explanation.gates if gate.name == "pending"]
    assert (bench.claim.id in evidence) is is_kept, case
