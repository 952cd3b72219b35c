"""The stop gate and the real agents: who is held, what it reads, when it may stop, and what cannot hold it.

The model does what its prompt says, and a reason to go on is a prompt: so the task tells what to do.
"""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from helpers.daemon import DAEMON, NAME, Daemon
from helpers.hook import fake_daemon
from helpers.private_bus import DBusDaemon, PrivateBus
from musterd.core.stopgate import HEAD

from .agents import AGENTS, HOOK_PATIENCE, PATIENCE, Lab, Pane, until, whole_lines
from .test_gates import ours
from .test_life import appear, state_is

pytestmark = pytest.mark.real

ALL = ["pi", "codex", "gemini", "opencode"]

# On the screen, or in the title, as long as a turn runs.
BUSY = {
    "pi": "Working",
    "codex": r"^[\u2800-\u28ff]|esc to interrupt",
    "gemini": "esc to cancel|Working",
    "opencode": "esc interrupt",
}

# The hooks that ask whether a turn may end.
STOPS = {
    "pi": "agent_before_settle",
    "codex": "Stop",
    "gemini": "AfterAgent",
    "opencode": "session.idle",
}

# What the tools of an agent run: a task that ends its own claim, one that gets nowhere, one that moves on.
FINISH = "tidy up MOCK:sh=~/finish #"
STUCK = "tidy up"
MOVE_ON = "tidy up MOCK:sh=~/work #"


def tools(lab: Lab, task: str) -> None:
    """Short names for what the model is told to run: a prompt is to fit into a line."""
    for name, line in {
        "claim": f"{lab.musterctl} claim start --task '{task}'",
        "finish": f"{lab.musterctl} claim done",
        "work": 'touch "$(date +%N)"',
    }.items():
        (lab.home / name).write_text(f"#!/bin/sh\n{line}\n")
        (lab.home / name).chmod(0o755)


def history(lab: Lab) -> list[dict[str, str]]:
    """Of the stop gate, oldest first."""
    rows: list[dict[str, str]] = json.loads(lab.ctl("gate", "history", "--json"))
    return rows


def kinds(lab: Lab) -> list[str]:
    return [row["Kind"] for row in history(lab)]


def told(lab: Lab) -> list[str]:
    """The prompts of the model in which the gate speaks."""
    asked = map(json.loads, whole_lines(lab.model_log))
    prompts = [one["prompt"] for one in asked if "prompt" in one and not one["goes_on"]]
    return [prompt for prompt in prompts if "Go on with it" in prompt]


def is_at_rest(pane: Pane, key: str) -> bool:
    """And none of its hooks runs: what a late one says is not taken for a later one's word."""
    shown = f"{pane.show('#{pane_title}')}\n{pane.screen()}"
    return not pane.runs(pane.lab.hook.name) and not re.search(BUSY[key], shown, re.MULTILINE)


def point(lab: Lab, bus: str, limit: str = f"{HOOK_PATIENCE}") -> None:
    """Its hooks call there from now on, by the same command line, and note when they have answered.

    `limit` is for how long they wait, in seconds; "" as shipped.
    """
    environ = f"MUSTERD_BUS={bus} MUSTERD_HOOK_TIMEOUT={limit}"
    script = f'#!/bin/sh\n{environ} {DAEMON}/musterd-hook "$@"\necho "$2" >>{lab.hook}.log\n'
    new = lab.hook.with_suffix(".new")
    new.write_text(script)
    new.chmod(0o755)
    new.rename(lab.hook)


def asked(lab: Lab, key: str) -> int:
    """How often a hook has answered whether a turn may end."""
    log = lab.hook.with_suffix(".log")
    return log.read_text().splitlines().count(STOPS[key]) if log.exists() else 0


GREETINGS = (f"hello {number}" for number in count(1))  # one that is on the screen already has no echo


def turn(pane: Pane, key: str, prompt: str = "", *, asks: bool = True) -> float:
    """Have a prompt answered -> seconds until its turn has ended."""
    until(lambda: is_at_rest(pane, key), PATIENCE, "no turn runs")
    before, asked_before = pane.lab.answers, asked(pane.lab, key)
    pane.type(prompt or next(GREETINGS))
    began = time.monotonic()
    pane.press("Enter")
    pane.wait_for_answer(after=before)
    if asks:
        until(lambda: asked(pane.lab, key) > asked_before, PATIENCE, "it was asked whether the turn may end")
    until(lambda: is_at_rest(pane, key), PATIENCE, "the turn ends")
    return time.monotonic() - began


@contextmanager
def announced(daemon: Daemon) -> Iterator[Callable[[], list[str]]]:
    """What all on the bus can hear of stops: the verdicts, oldest first."""
    heard = daemon.work / "heard"
    match = f"--match=type='signal',interface='{NAME}.StopGate',member='StopEvaluated'"
    command = ["busctl", f"--address={daemon.bus.address}", "--json=short", "monitor", match]
    with heard.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE) as monitor:
        try:
            assert monitor.stderr
            assert monitor.stderr.readline()  # now it hears them
            yield lambda: [json.loads(line)["payload"]["data"][1] for line in whole_lines(heard)]
        finally:
            monitor.terminate()


def begin(
    lab: Lab, daemon: Daemon, key: str, mode: str, task: str, limit: str = f"{HOOK_PATIENCE}"
) -> tuple[Pane, str]:
    lab.ctl("gate", "mode", mode)
    tools(lab, task)
    point(lab, daemon.bus.address, limit)
    pane, session, _ = appear(lab, daemon, AGENTS[key])
    return pane, session


@pytest.mark.parametrize("key", ["pi", "codex", "gemini"])
def test_owner_is_held_with_the_reasons_and_goes_on_until_it_is_done(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str
) -> None:
    lab, daemon = hooked_lab, hooked_daemon
    pane, session = begin(lab, daemon, key, "enforce", FINISH)
    pane.submit("please MOCK:sh=~/claim")
    until(lambda: kinds(lab)[-2:] == ["claim", "stop"], PATIENCE, "it may stop")
    assert kinds(lab) == ["gate-mode", "claim", "held", "claim", "stop"]
    assert len(told(lab)) == 1
    assert HEAD in told(lab)[0]
    assert "is active, not done" in told(lab)[0]
    pane.wait_for("tidy up")
    until(state_is(daemon, session, "idle"), PATIENCE, "it is idle")
    turn(pane, key)
    assert len(told(lab)) == 1


@pytest.mark.parametrize("key", ALL)
def test_after_its_budget_it_may_stop_and_that_is_announced(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str
) -> None:
    lab, daemon = hooked_lab, hooked_daemon
    with announced(daemon) as verdicts:
        pane, session = begin(lab, daemon, key, "enforce", MOVE_ON)
        pane.submit("please MOCK:sh=~/claim")
        until(lambda: kinds(lab)[-1] == "let-go", PATIENCE, "it may stop")
        until(lambda: len(verdicts()) == 4, PATIENCE, "it is announced")
        assert verdicts() == ["block", "block", "block", "exhausted"]
    assert kinds(lab) == ["gate-mode", "claim", "held", "held", "held", "let-go"]
    assert [f"{count} file" in prompt for count, prompt in enumerate(told(lab))] == [False, True, True]
    assert "though its claim is not done: the budget of 3 holds is used up" in history(lab)[-1]["Text"]
    until(state_is(daemon, session, "idle"), PATIENCE, "it is idle")
    turn(pane, key)
    assert kinds(lab)[-1] == "let-go"


@pytest.mark.parametrize("key", ALL)
def test_another_in_the_same_directory_is_not_held_and_costs_the_owner_nothing(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str
) -> None:
    lab, daemon = hooked_lab, hooked_daemon
    lab.ctl("gate", "mode", "enforce")
    point(lab, daemon.bus.address)
    owner, other = lab.start(AGENTS[key]), lab.start(AGENTS[key])
    until(lambda: len(ours(lab, daemon)) == 2, PATIENCE, "both are on the roll")
    turn(owner, key)
    terminal = f"tmux:{lab.socket}:{owner.show('#{pane_id}')}"
    mine = next(one for one in ours(lab, daemon) if daemon.session(one)["Terminal"] == terminal)
    claim = lab.ctl("claim", "start", "--session", mine, "--task", STUCK).strip()
    for _ in range(2):
        turn(other, key)
    (row,) = json.loads(lab.ctl("claim", "list", "--json"))
    assert (row["Claim"], row["HoldsUsed"]) == (claim, 0)
    assert told(lab) == []
    owner.submit(next(GREETINGS))
    until(lambda: kinds(lab)[-2:] == ["held", "let-go"], PATIENCE, "it is held, and told nothing twice")
    assert len(told(lab)) == 1
    owner.wait_for(STUCK)
    assert STUCK not in other.screen()


@pytest.mark.parametrize("key", ALL)
def test_in_shadow_nothing_is_held_and_the_history_shows_what_would_be(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str
) -> None:
    lab, daemon = hooked_lab, hooked_daemon
    pane, session = begin(lab, daemon, key, "shadow", STUCK)
    turn(pane, key, "please MOCK:sh=~/claim")
    until(lambda: kinds(lab)[-1] == "would-hold", PATIENCE, "it is written down")
    assert f"the task '{STUCK}'" in history(lab)[-1]["Text"]
    until(state_is(daemon, session, "idle"), PATIENCE, "it is idle")
    turn(pane, key)
    assert told(lab) == []


def test_opencode_is_prompted_anew_and_knows_by_whom(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    lab, daemon = hooked_lab, hooked_daemon
    pane, session = begin(lab, daemon, "opencode", "enforce", FINISH)
    pane.submit("please MOCK:sh=~/claim")
    until(lambda: kinds(lab)[-2:] == ["claim", "stop"], PATIENCE, "it may stop")
    assert kinds(lab) == ["gate-mode", "claim", "held", "claim", "stop"]
    assert told(lab)[0].startswith("[musterd] Your user did not write this.")
    pane.wait_for("Your user did not write this")
    until(state_is(daemon, session, "idle"), PATIENCE, "it is idle")
    turn(pane, "opencode")
    assert len(told(lab)) == 1


@contextmanager
def standing_still(daemon: Daemon) -> Iterator[None]:
    assert daemon.process
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("key", ALL)
def test_whatever_is_wrong_with_musterd_its_turn_ends(
    hooked_lab: Lab,
    hooked_daemon: Daemon,
    private_bus: PrivateBus,
    tmp_path_factory: pytest.TempPathFactory,
    key: str,
) -> None:
    lab, daemon = hooked_lab, hooked_daemon
    pane, session = begin(lab, daemon, key, "enforce", STUCK, limit="")
    times = {"the first": turn(pane, key), "nothing wrong": turn(pane, key)}
    lab.ctl("claim", "start", "--session", session, "--task", STUCK)
    with standing_still(daemon):
        times["daemon SIGSTOPped"] = turn(pane, key)
    with DBusDaemon(tmp_path_factory.mktemp("bus") / "bus") as bus, fake_daemon(bus.address) as fake:
        point(lab, bus.address, limit="")
        fake.says("{}")
        fake.delay = 1.0
        times["daemon slow"] = turn(pane, key)
        fake.delay = 0
        fake.is_silent = True
        times["daemon silent"] = turn(pane, key)
        fake.is_silent = False
        for case, garbage in GARBAGE.items():
            fake.says(garbage, block=True)
            times[case] = turn(pane, key)
        fake.signature, fake.body = "au", [[1, 2, 3]]
        times["of another version"] = turn(pane, key)
    times["no bus"] = turn(pane, key)
    point(lab, private_bus.address, limit="")
    daemon.stop()
    times["no daemon"] = turn(pane, key)
    lab.hook.unlink()
    times["no hook"] = turn(pane, key, asks=False)
    assert told(lab) == []
    print(f"{key}:", ", ".join(f"{case} {seconds:.1f} s" for case, seconds in times.items()))


GARBAGE = {
    "garbage": "\x1b[31mTraceback {%s} \\\n",
    "half an answer": '{"decision": "block", "reason": ',
    "another shape": '[{"decision": 7}]',
}
