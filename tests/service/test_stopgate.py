"""The stop gate of the real daemon: held, let go, switched, killed, and asked by many at once."""

import asyncio
import json
import os
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant

from helpers.client import Client, client
from helpers.daemon import ALONE, NAME, ROOT, CallFailed, Daemon
from helpers.installation import Installation
from helpers.private_bus import PrivateBus
from helpers.processes import sleepers
from helpers.wait import until
from musterd.bus.errors import BusError
from musterd.bus.signals import Match, Signal

# A busy machine is no reason to let go in a test: its hooks wait longer.
PATIENT = f'{ALONE}[stop-gate]\nhook-timeout = "60s"\ncheck-timeout = "50s"\n'

ROUNDS = int(os.environ.get("MUSTERD_KILL_ROUNDS", "15"))
THREAD = "0c8a1f0e-0000-4000-8000-000000000001"
STOPS = 1000


@pytest.fixture
def patient(tmp_path: Path, private_bus: PrivateBus) -> Iterator[Daemon]:
    with Daemon(tmp_path, private_bus, PATIENT) as daemon:
        yield daemon


class Agent:
    """This very process, as an agent with a conversation: its hooks are calls of its own."""

    def __init__(self, caller: Client, session_id: str) -> None:
        self.caller = caller
        self.id = session_id

    @classmethod
    async def begin(cls, caller: Client, cwd: Path) -> "Agent":
        spec = {"agent": "codex", "agent_session_id": THREAD, "cwd": str(cwd)}
        agent = cls(caller, await caller.register(os.getpid(), **spec))
        await agent.say("UserPromptSubmit", prompt="tidy up")
        return agent

    async def say(self, event: str, **payload: object) -> tuple[bool, str]:
        told = json.dumps({"session_id": THREAD, **payload})
        block, output = await self.caller.call("ReportEvent", "sss", "codex", event, told, within=60)
        return bool(block), str(output)

    async def stop(self, **payload: object) -> str:
        """The reason of the hold, or "" if the turn may end."""
        block, output = await self.say("Stop", **payload)
        answer: Mapping[str, str] = json.loads(output)
        assert answer == ({"decision": "block", "reason": answer["reason"]} if block else {})
        return answer.get("reason", "")

    async def claim(self, **spec: str) -> str:
        values = {"session": Variant("s", self.id)}
        values |= {key: Variant("s", value) for key, value in spec.items()}
        (claim_id,) = await self.caller.call("StopGate.Claim", "a{sv}", values)
        return str(claim_id)

    async def update(self, claim_id: str, **changes: object) -> None:
        values = {
            key: Variant("as" if isinstance(value, list) else "s", value) for key, value in changes.items()
        }
        await self.caller.call("StopGate.UpdateClaim", "sa{sv}", claim_id, values)

    async def history(self) -> list[dict[str, Any]]:
        (rows,) = await self.caller.call("StopGate.History", "u", 0)
        return [{key: variant.value for key, variant in row.items()} for row in rows]


async def enforce(caller: Client) -> None:
    await caller.call("StopGate.SetMode", "ss", "enforce", "a test")


async def test_as_shipped_it_only_writes_down_what_it_would_do(patient: Daemon, tmp_path: Path) -> None:
    assert (patient.get("StopGate.Mode"), patient.get("StopGate.KillSwitch")) == ("shadow", False)
    async with client(patient.bus.address) as caller:
        agent = await Agent.begin(caller, tmp_path)
        await agent.claim(task="tidy up")
        assert await agent.stop() == ""
        newest = (await agent.history())[0]
    assert (newest["Kind"], newest["Verdict"], newest["Enforced"]) == ("would-hold", "block", False)
    assert "'tidy up'" in newest["Text"]


async def test_owner_is_held_until_its_claim_is_done(patient: Daemon, tmp_path: Path) -> None:
    told: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue()
    async with client(patient.bus.address) as caller:
        await caller.bus.subscribe(
            Match(NAME, interface=f"{NAME}.StopGate", member="StopEvaluated"),
            lambda signal: told.put_nowait(signal.args),
        )
        await enforce(caller)
        agent = await Agent.begin(caller, tmp_path)
        claim_id = await agent.claim(task="tidy up", budget="medium")
        await agent.update(claim_id, checklist=["write", "run"])
        assert patient.session(agent.id)["Claims"] == [claim_id]
        first = await agent.stop()
        assert "write, run" in first
        assert patient.session(agent.id)["State"] == "busy"
        await agent.update(claim_id, done=["write"])
        assert "checklist: run" in await agent.stop(stop_hook_active=True)
        assert patient.call("StopGate.ListClaims") == [
            [[claim_id, agent.id, "tidy up", "active", 0, 2, 5]],
        ]
        await agent.update(claim_id, phase="done")
        assert await agent.stop() == ""
        assert patient.session(agent.id)["Claims"] == []
        assert [await told.get() for _ in range(3)] == [
            (agent.id, "block", True),
            (agent.id, "block", True),
            (agent.id, "allow", True),
        ]
        kinds = [row["Kind"] for row in await agent.history()]
    assert kinds == ["stop", "claim", "held", "held", "claim", "gate-mode"]


def repository(path: Path) -> Path:
    subprocess.run(["git", "init", "-q", path], check=True)
    return path


async def test_what_it_has_not_finished_is_found_by_the_daemon(patient: Daemon, tmp_path: Path) -> None:
    project = repository(tmp_path / "project")
    (project / "new").touch()
    check = ["sh", "-c", "echo 2 tests fail; exit 1"]
    patient.config.write_text(f"{PATIENT}check-command = {json.dumps(check)}\n")
    await asyncio.to_thread(patient.restart)
    async with client(patient.bus.address) as caller:
        await enforce(caller)
        agent = await Agent.begin(caller, project)
        await agent.claim(task="tidy up")
        with sleepers(1):
            reason = await agent.stop()
    assert "uncommitted work: 1 file\n" in reason
    assert "the check says: 2 tests fail" in reason
    assert re.search(r"still running: .*\bcat\b", reason)


@contextmanager
def another_agent(daemon: Daemon) -> Iterator[subprocess.Popen[bytes]]:
    """Told to go, it asks twice whether its turn may end."""
    told = shlex.quote(json.dumps({"session_id": "another"}))
    call = f"busctl --address={daemon.bus.address} --timeout=60 call {NAME} {ROOT} {NAME}.Manager"
    report = f"{call} ReportEvent sss codex Stop {told}"
    script = f"read go; {report}; {report}; true"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        yield agent


async def test_doctor_tells_of_a_check_that_lets_everybody_go(patient: Daemon, tmp_path: Path) -> None:
    def said() -> list[str]:
        shown = Installation(patient.home, patient.bus.address).ctl("doctor").stdout
        return [line for line in shown.splitlines() if line.startswith("✗ stop gate")]

    project = repository(tmp_path / "project")
    patient.config.write_text(f'{PATIENT}check-command = ["/nowhere/check"]\n')
    await asyncio.to_thread(patient.restart)
    async with client(patient.bus.address) as caller:
        await enforce(caller)
        agent = await Agent.begin(caller, project)
        assert await agent.stop() == ""
        assert await asyncio.to_thread(said) == []
        await agent.claim(task="tidy up")
        assert await agent.stop() == ""
        (line,) = await asyncio.to_thread(said)
        assert line.endswith("may stop: not known in time: the check ended with status 127")
        patient.config.write_text(PATIENT)
        await asyncio.to_thread(patient.restart)
        assert "is active, not done" in await agent.stop()
        assert await asyncio.to_thread(said) == []


async def test_another_agent_in_the_same_directory_is_let_go_and_costs_nothing(
    patient: Daemon, tmp_path: Path
) -> None:
    async with client(patient.bus.address) as caller:
        await enforce(caller)
        agent = await Agent.begin(caller, tmp_path)
        claim_id = await agent.claim(task="tidy up")
        with another_agent(patient) as other:
            await caller.register(other.pid, agent="codex", agent_session_id="another", cwd=str(tmp_path))
            answers, _ = await asyncio.to_thread(other.communicate, b"go\n")
        assert answers.decode() == 'bs false "{}"\n' * 2
        (rows,) = await caller.call("StopGate.ListClaims")
        assert (rows[0][0], rows[0][5]) == (claim_id, 0)
        assert await agent.stop()


async def test_the_kill_switch_lets_go_at_once_and_is_durable(patient: Daemon, tmp_path: Path) -> None:
    async with client(patient.bus.address) as caller:
        await enforce(caller)
        agent = await Agent.begin(caller, tmp_path)
        await agent.claim(task="tidy up")
        assert await agent.stop()
        await caller.call("StopGate.SetKillSwitch", "bs", True, "something is wrong")
        await agent.say("UserPromptSubmit", prompt="go on")
        assert await agent.stop() == ""
    await asyncio.to_thread(patient.restart, signal.SIGKILL)
    assert (patient.get("StopGate.Mode"), patient.get("StopGate.KillSwitch")) == ("enforce", True)
    mode = (patient.state / "mode.toml").read_text()
    assert "something is wrong" in mode


async def test_a_kill_between_claim_and_stop_forgets_neither(patient: Daemon, tmp_path: Path) -> None:
    async with client(patient.bus.address) as caller:
        await enforce(caller)
        agent = await Agent.begin(caller, tmp_path)
        claim_id = await agent.claim(task="tidy up")
        await agent.update(claim_id, checklist=["write"])
    await asyncio.to_thread(patient.restart, signal.SIGKILL)
    async with client(patient.bus.address) as caller:
        agent = Agent(caller, agent.id)
        assert "write" in await agent.stop()
    await asyncio.to_thread(patient.restart, signal.SIGKILL)
    (rows,) = patient.call("StopGate.ListClaims")
    assert (rows[0][0], rows[0][5]) == (claim_id, 1)


async def test_kill_at_any_moment_breaks_no_promise_of_a_claim(patient: Daemon, tmp_path: Path) -> None:
    """What was answered is there; of the one call that got no answer, either outcome."""
    kept: dict[str, str] = {}  # claim: its phase
    unsure: set[str] = set()

    async def work(agent: Agent) -> None:
        for number in range(10_000):
            claim_id = await agent.claim(task=f"task {number}")
            kept[claim_id] = "active"
            unsure.add(claim_id)
            await agent.update(claim_id, phase="done")
            kept[claim_id] = "done"
            await caller.call("StopGate.ReleaseClaim", "s", claim_id)
            del kept[claim_id]
            unsure.discard(claim_id)

    for round_ in range(ROUNDS):
        async with client(patient.bus.address) as caller:
            agent = await Agent.begin(caller, tmp_path)
            life = random.Random(round_).uniform(0, 0.2)
            assert patient.process
            asyncio.get_running_loop().call_later(life, patient.process.send_signal, signal.SIGKILL)
            with suppress(BusError):
                await work(agent)
        await asyncio.to_thread(patient.process.wait)
        await asyncio.to_thread(patient.start)
        (rows,) = patient.call("StopGate.ListClaims")
        found = {row[0]: row[3] for row in rows}
        for claim_id, phase in kept.items():
            if claim_id not in unsure:
                assert found.get(claim_id) == phase
            elif claim_id in found:
                assert found[claim_id] in (phase, "done")
            else:
                assert phase == "done"
        for claim_id in found:
            with suppress(CallFailed):
                patient.call("StopGate.ReleaseClaim", "s", claim_id)
        kept.clear()
        unsure.clear()
    assert "Traceback" not in patient.log
    assert not list((patient.state / "quarantine").iterdir())


async def musterctl(daemon: Daemon, *args: str) -> tuple[int | None, str]:
    pipe = asyncio.subprocess.PIPE
    words = sys.executable, "-m", "helpers.patient_ctl", *args
    program = await asyncio.create_subprocess_exec(*words, env=daemon.env(), stdout=pipe, stderr=pipe)
    _, errors = await program.communicate()
    return program.returncode, errors.decode()


async def test_a_claim_is_finished_by_its_owner_however_many_there_are(
    patient: Daemon, tmp_path: Path
) -> None:
    """More than one answer to ListClaims holds."""
    patient.config.write_text(f"{PATIENT}[limits]\nclaims-per-session = 1000\nclaims-per-user = 1000\n")
    await asyncio.to_thread(patient.restart)
    async with client(patient.bus.address) as caller:
        agent = await Agent.begin(caller, tmp_path)
        ids = [await agent.claim(task="t" * 1024) for _ in range(240)]
        (rows,) = await caller.call("StopGate.ListClaims")
        assert len(rows) < len(ids)
        assert await musterctl(patient, "claim", "done", ids[-1]) == (0, "")
        for claim_id in ids[:-2]:
            await caller.call("StopGate.ReleaseClaim", "s", claim_id)
        assert await musterctl(patient, "claim", "done") == (0, "")
        (rows,) = await caller.call("StopGate.ListClaims")
        assert [(row[0], row[3]) for row in rows] == [(ids[-2], "done"), (ids[-1], "done")]


@contextmanager
def full_disk(daemon: Daemon) -> Iterator[None]:
    """For its event log, whose pages lie behind that limit; its state files are smaller."""
    assert daemon.process
    pid, (soft, hard) = daemon.process.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


async def test_while_its_history_cannot_be_written_it_acts_as_off_and_says_so(
    patient: Daemon, tmp_path: Path
) -> None:
    async with client(patient.bus.address) as caller:
        await enforce(caller)
        agent = await Agent.begin(caller, tmp_path)
        claim_id = await agent.claim(task="tidy up", budget="large")
        assert await agent.stop()
        with full_disk(patient):
            await agent.update(claim_id, checklist=["write"])  # which is on disk
            await agent.stop()  # to write that down fails
            assert "write" not in (await agent.history())[0]["Text"]
            await agent.say("UserPromptSubmit", prompt="go on")
            assert await agent.stop() == ""
            assert patient.get("Health") == "degraded"
            reasons = patient.get("HealthReasons")
            assert [reason for reason in reasons if reason.startswith("the stop gate acts as off")]
        await agent.history()  # whatever is written next
        assert (patient.get("Health"), patient.get("StopGate.Mode")) == ("ok", "enforce")
        assert await agent.stop()


SLOW = "touch started; until [ -e go ]; do sleep 0.02; done; echo 2 tests fail; exit 1"


async def test_a_hook_that_has_given_up_costs_no_hold(patient: Daemon, tmp_path: Path) -> None:
    patient.config.write_text(f"{PATIENT}check-command = {json.dumps(['sh', '-c', SLOW])}\n")
    await asyncio.to_thread(patient.restart)
    judged: asyncio.Queue[object] = asyncio.Queue()
    async with client(patient.bus.address) as caller:
        await caller.bus.subscribe(
            Match(NAME, interface=f"{NAME}.StopGate", member="StopEvaluated"), judged.put_nowait
        )
        await enforce(caller)
        agent = await Agent.begin(caller, tmp_path)
        await agent.claim(task="tidy up")
        async with client(patient.bus.address) as hook:
            asking = asyncio.create_task(Agent(hook, agent.id).stop())
            await until((tmp_path / "started").exists)
        with suppress(BusError):
            await asking
        (tmp_path / "go").touch()
        await judged.get()
        (rows,) = await caller.call("StopGate.ListClaims")
        newest = (await agent.history())[0]
        assert (newest["Kind"], newest["Rules"], rows[0][5]) == ("stop", "late", 0)
        assert "2 tests fail" in await agent.stop()  # told for the first time


async def test_nobody_is_told_that_it_is_idle_while_it_asks_whether_its_turn_may_end(
    patient: Daemon, tmp_path: Path
) -> None:
    """pi says that its turn has ended before it asks, and its word can be the later one to come."""
    patient.config.write_text(f"{PATIENT}check-command = {json.dumps(['sh', '-c', SLOW])}\n")
    await asyncio.to_thread(patient.restart)
    told: asyncio.Queue[str] = asyncio.Queue()

    def changed(signal: Signal) -> None:
        interface, values, _ = signal.args
        if interface == f"{NAME}.Session" and "State" in values:
            told.put_nowait(values["State"].value)

    async with client(patient.bus.address) as caller:
        await caller.bus.subscribe(
            Match(NAME, interface="org.freedesktop.DBus.Properties", member="PropertiesChanged"), changed
        )
        await enforce(caller)
        spec = {"agent": "pi", "agent_session_id": THREAD, "cwd": str(tmp_path)}
        agent = Agent(caller, await caller.register(os.getpid(), **spec))

        async def say(event: str) -> bool:
            payload = json.dumps(
                {"session_id": THREAD, "time": time.time_ns() // 1_000_000, "is_idle": True}
            )
            block, _ = await caller.call("ReportEvent", "sss", "pi", event, payload, within=60)
            return bool(block)

        await say("agent_start")
        assert await told.get() == "busy"
        claim_id = await agent.claim(task="tidy up")
        asking = asyncio.create_task(say("agent_before_settle"))
        await until((tmp_path / "started").exists)
        await say("agent_end")
        assert patient.session(agent.id)["State"] == "busy"
        (tmp_path / "go").touch()
        assert await asking
        assert patient.session(agent.id)["State"] == "busy"
        await agent.update(claim_id, phase="done")
        assert not await say("agent_before_settle")
        await say("agent_settled")
        while (state := await told.get()) != "idle":
            assert state == "busy"
    assert patient.session(agent.id)["State"] == "idle"


async def test_a_thousand_stops_at_once_starve_nobody_and_cost_the_budget_once(
    patient: Daemon, tmp_path: Path
) -> None:
    async with client(patient.bus.address) as caller, client(patient.bus.address) as other:
        await enforce(caller)
        agent = await Agent.begin(caller, tmp_path)
        await agent.claim(task="tidy up", budget="large")
        turns = asyncio.Semaphore(60)  # calls of one peer in flight are limited

        async def stop() -> str:
            async with turns:
                return await agent.stop()

        stops = asyncio.gather(*(stop() for _ in range(STOPS)))
        while not stops.done():
            await other.call("ListSessions", within=60)
        held = [reason for reason in await stops if reason]
        history = await agent.history()
    assert 1 <= len(held) <= 5  # for one prompt
    assert all("'tidy up'" in reason for reason in held)
    [[claimed]] = patient.call("StopGate.ListClaims")
    assert claimed[5] == len(held)
    assert {row["Kind"] for row in history} <= {"stop", "held", "let-go"}
    assert "Traceback" not in patient.log


@pytest.mark.parametrize(
    ("member", "signature", "args", "words"),
    [
        ("SetMode", "ss", ["on", "why"], "is not 'off', 'shadow' or 'enforce'"),
        ("UpdateClaim", "sa{sv}", ["c0", 0], "There is no claim 'c0'"),
        ("ReleaseClaim", "s", ["c0"], "There is no claim 'c0'"),
        ("Claim", "a{sv}", [0], "'task' is needed"),
        ("Claim", "a{sv}", [2, "task", "s", "x", "session", "s", "zzzzzz"], "No session 'zzzzzz'"),
        (
            "Claim",
            "a{sv}",
            [2, "task", "u", 1, "size", "s", "x"],
            "'task' is not a string; unknown key 'size'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    daemon: Daemon, member: str, signature: str, args: list[object], words: str
) -> None:
    with pytest.raises(CallFailed, match=words):
        daemon.call(f"StopGate.{member}", signature, *args)
