"""`musterd-hook`: the agent reads what the daemon said, byte for byte; the daemon what the agent wrote."""

import json
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.hook import FakeDaemon, Hook, Said, fake_daemon
from helpers.installation import Installation
from helpers.private_bus import DBusDaemon, PrivateBus

SHELLS = {"dash": ["/bin/dash"], "bash": ["/bin/bash", "--posix"]}
LIMIT = 256 * 1024
ONE_ARGUMENT = 128 * 1024 - 1

NASTY = [
    "",
    "{}",
    "{}\n",
    "\n\n\n",
    ' "',
    '"',
    "\\",
    '\\"',
    "\\\\\\'",
    "'%s%d%%'",
    "100%",
    "%",
    "-n",
    "--help",
    "\\n\\t\\0\\033\\x41\\u0041\\c",
    "".join(map(chr, range(1, 0x100))),
    "\x1b7\x017\x1077",
    "\x7f\x80\u0081\u0088 Ёж ✁ 💡 \u2028",
    json.dumps({"decision": "block", "reason": "tests fail: \"x\" 'y' 50% C:\\\n - ünït\n" * 20}),
    "x" * 100_000,
    "$(touch x) `touch x` ${HOME} *",
]

nasty = st.text(st.sampled_from("\"'%\\\n\r\t\x01\x1b\x7fn0178 xä€💡*$") | st.characters(codec="utf-8"))


def is_on_a_bus(text: str) -> bool:
    """sd-bus takes no NUL and no non-characters: it would see no reply but an error."""
    return not any(c == "\0" or 0xFDD0 <= ord(c) <= 0xFDEF or ord(c) & 0xFFFE == 0xFFFE for c in text)


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DBusDaemon]:
    with DBusDaemon(tmp_path_factory.mktemp("bus") / "bus") as bus:
        yield bus


@pytest.fixture(scope="module")
def fake(bus: DBusDaemon) -> Iterator[FakeDaemon]:
    with fake_daemon(bus.address) as fake:
        yield fake


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest, tmp_path: Path, bus: DBusDaemon) -> Hook:
    return Hook(tmp_path, bus.address, SHELLS[request.param])


@pytest.mark.parametrize("output", NASTY)
def test_every_byte_comes_out_as_it_went_in(fake: FakeDaemon, hook: Hook, output: str) -> None:
    fake.says(output, block=True)
    said = hook("codex", "Stop")
    assert (said.status, said.stdout, said.stderr) == (0, output.encode(), b"")
    assert (hook.logged, hook.went_slow) == ([], False)


def test_any_text_comes_out_as_it_went_in(fake: FakeDaemon, tmp_path: Path, bus: DBusDaemon) -> None:
    hook = Hook(tmp_path, bus.address)

    @settings(max_examples=150, deadline=None, database=None)
    @given(nasty.filter(is_on_a_bus))
    def check(output: str) -> None:
        fake.says(output)
        assert hook("claude-code", "Stop").stdout == output.encode()

    check()


def test_the_slow_path_says_the_same(fake: FakeDaemon, tmp_path: Path, bus: DBusDaemon) -> None:
    hook = Hook(tmp_path, bus.address)
    fake.says("".join(NASTY[:-2]))
    fast, slow = hook("codex", "Stop"), hook("codex", "Stop", environ={"MUSTERD_HOOK_PRIVATE": "1"})
    assert hook.went_slow
    assert fast == slow


@pytest.mark.parametrize(
    "payload",
    [
        '{"a": "Ёж ✁ 💡 \u0081\u0088"}',
        json.dumps({"a": "".join(map(chr, range(0x20, 0x3000)))}, ensure_ascii=False),
        json.dumps({"a": string.printable}, indent=2),
        "-5",
        "--",
        '"' + "x" * (ONE_ARGUMENT - 2) + '"',
    ],
)
def test_the_daemon_reads_what_the_agent_wrote(fake: FakeDaemon, hook: Hook, payload: str) -> None:
    fake.says("")
    hook("codex", "Stop", stdin=payload.encode() + b"\n")
    assert fake.told[-1] == ["codex", "Stop", payload]
    assert not hook.went_slow


@pytest.mark.parametrize(
    ("case", "payload", "told"),
    [
        ("NULs", b'\0{"a": "x\0y"}\0', '{"a": "xy"}'),
        ("a NUL that is escaped", b'{"a": "\\u0000"}', '{"a": "\\u0000"}'),
        ("half a character", b'{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        ("non-characters", '{"a": "\ufffe\U0001ffff"}'.encode(), '{"a": "\ufffe\U0001ffff"}'),
        ("a line break behind the most that may be", b'"' + b"x" * (LIMIT - 2) + b'"\n', None),
        ("more NULs than may be", b"{}" + b"\0" * LIMIT, "{}"),
        ("more line breaks than may be", b"{}" + b"\n" * LIMIT, "{}"),
        ("line breaks of DOS", b"{\r\n}\r\n", "{\r\n}\r"),
        ("not UTF-8", b'{"a": "\xff"}', ""),
        ("half a character, not escaped", b'{"a": "\xed\xa0\x80"}', ""),
        ("too long", b'"' + b"x" * (LIMIT - 1) + b'"', ""),
    ],
)
def test_odd_input_is_the_same_to_the_slow_path(
    fake: FakeDaemon, tmp_path: Path, bus: DBusDaemon, case: str, payload: bytes, told: str | None
) -> None:
    """`told` is what the daemon hears; None is all but the last byte, "" nothing."""
    hook, slow, heard = Hook(tmp_path, bus.address), {"MUSTERD_HOOK_PRIVATE": "1"}, len(fake.told)
    fake.says("heard")
    said = [hook("codex", "Stop", stdin=payload, environ=way) for way in ({}, slow)]
    told = payload[:-1].decode() if told is None else told
    assert fake.told[heard:] == ([["codex", "Stop", told]] * 2 if told else []), case
    assert said == [Said(0, b"heard" if told else b"{}", b"")] * 2, case


@pytest.mark.parametrize("size", [ONE_ARGUMENT + 1, LIMIT])
def test_what_no_argument_can_hold_goes_the_slow_way(fake: FakeDaemon, hook: Hook, size: int) -> None:
    fake.says("as told\n")
    payload = '"' + "é" * ((size - 2) // 2) + '"'
    said = hook("codex", "Stop", stdin=payload.encode())
    assert (said.status, said.stdout, said.stderr) == (0, b"as told\n", b"")
    assert fake.told[-1] == ["codex", "Stop", payload]
    assert hook.went_slow


def test_one_that_is_private_is_on_no_command_line(fake: FakeDaemon, hook: Hook) -> None:
    fake.says("{}")
    hook.add("busctl", "#!/bin/sh\nexit 1\n")
    said = hook("codex", "Stop", stdin=b'"secret"', environ={"MUSTERD_HOOK_PRIVATE": "1"})
    assert (said.stdout, fake.told[-1]) == (b"{}", ["codex", "Stop", '"secret"'])


def test_without_busctl_it_goes_the_slow_way(fake: FakeDaemon, hook: Hook) -> None:
    fake.says("{}")
    said = hook("codex", "Stop", stdin=b'"here"', environ={"PATH": str(hook.bin)})
    assert (said.stdout, fake.told[-1]) == (b"{}", ["codex", "Stop", '"here"'])
    assert hook.went_slow


@pytest.mark.parametrize(
    ("args", "environ"),
    [
        (["--bus", "BUS"], {"MUSTERD_BUS": "unix:path=/nowhere"}),
        (["--bus=BUS"], {"MUSTERD_BUS": ""}),
        (["--user"], {"DBUS_SESSION_BUS_ADDRESS": "BUS"}),
        (["--system"], {"DBUS_SYSTEM_BUS_ADDRESS": "BUS"}),
        ([], {"DBUS_SESSION_BUS_ADDRESS": "BUS", "MUSTERD_BUS": "user"}),
        ([], {"DBUS_SESSION_BUS_ADDRESS": "BUS", "MUSTERD_BUS": "session"}),
        ([], {"DBUS_SYSTEM_BUS_ADDRESS": "BUS", "MUSTERD_BUS": ""}),
        ([], {"DBUS_SYSTEM_BUS_ADDRESS": "BUS", "MUSTERD_BUS": "system"}),
    ],
)
def test_the_bus_is_found_as_musterctl_finds_it(
    fake: FakeDaemon, tmp_path: Path, bus: DBusDaemon, args: list[str], environ: dict[str, str]
) -> None:
    hook = Hook(tmp_path, bus.address)
    fake.says("here")
    args = [arg.replace("BUS", bus.address) for arg in args]
    environ = {name: value.replace("BUS", bus.address) for name, value in environ.items()}
    fast = hook(*args, "codex", "Stop", environ=environ)
    slow = hook(*args, "codex", "Stop", environ={**environ, "MUSTERD_HOOK_PRIVATE": "1"})
    assert fast.stdout == slow.stdout == b"here"


@pytest.mark.parametrize(
    "environ",
    [
        {"LANG": "xx_YY.nonsense", "LC_ALL": "tr_TR.UTF-8"},
        {"SYSTEMD_LOG_LEVEL": "debug", "SYSTEMD_LOG_TARGET": "console"},
        {"SYSTEMD_COLORS": "1", "SYSTEMD_PAGER": "cat"},
        {"LD_PRELOAD": "/nowhere/no.so"},
        {"IFS": "bs", "ENV": "/nowhere", "TMPDIR": "/nowhere", "HOME": ""},
    ],
)
def test_whatever_the_agents_environment_is(fake: FakeDaemon, hook: Hook, environ: dict[str, str]) -> None:
    fake.says('{"a": "ä"}')
    said = hook("codex", "Stop", environ=environ)
    assert said.stdout == '{"a": "ä"}'.encode()
    assert hook.logged == []


@pytest.mark.parametrize("limit", ["", "0", "1 h; exit"])
def test_what_is_no_limit_leaves_it_as_it_is(private_bus: PrivateBus, tmp_path: Path, limit: str) -> None:
    hook = Hook(tmp_path, private_bus.address)
    with fake_daemon(private_bus.address) as fake:
        fake.is_silent = True
        assert hook("codex", "Stop", environ={"MUSTERD_HOOK_TIMEOUT": limit}).stdout == b"{}"
    assert "no answer within 1.5 s" in hook.logged[0]


def test_the_real_daemon_hears_the_agent_above(musterd: Installation, tmp_path: Path) -> None:
    hook = Hook(tmp_path, musterd.bus)
    agent_id = "0199a213-81c0-7800-8aa1-bbab2a035a54"
    payload = json.dumps({"session_id": agent_id, "hook_event_name": "Stop", "cwd": "/srv"})
    script = f"read start; echo '{payload}' | {hook.program} codex Stop; echo; read end"
    with subprocess.Popen(
        ["sh", "-c", script], env=hook.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as agent:
        session_id = musterd.register(agent, "--agent", "codex")
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write(b"start\n")
        agent.stdin.flush()
        said = agent.stdout.readline()
        heard = json.loads(musterd.ctl("list", "--json").stdout)
        musterd.ctl("release", session_id)
    assert (said, hook.logged, hook.went_slow) == (b"{}\n", [], False)
    assert [(s["Id"], s["AgentSessionId"]) for s in heard] == [(session_id, agent_id)]
