"""`musterctl hooks` and the settings files of a user: merged, brought back, and never damaged."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from musterd.agents.hooks import Installed
from musterd.ctl import main, merge, userfile
from musterd.ctl.failure import CtlError

AGENTS = ["claude-code", "codex", "gemini", "pi", "opencode"]

FILES = {
    "claude-code": ".claude/settings.json",
    "codex": ".codex/hooks.json",
    "gemini": ".gemini/settings.json",
    "pi": ".pi/agent/extensions/musterd.ts",
    "opencode": ".config/opencode/plugins/musterd.js",
}


class User:
    """A home directory, the programs in it, and musterctl."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys
        self.hook = self.program("musterd-hook")

    def program(self, name: str, package: Mapping[str, str] | None = None) -> Path:
        path = self.home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        if package:
            (self.home / "package.json").write_text(json.dumps(package))
        return path

    def file(self, agent: str, data: bytes | str | None = None) -> Path:
        path = self.home / FILES[agent]
        if data is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def ctl(self, *args: str) -> tuple[int, str, str]:
        status = main.main(["--bus", "unix:path=/nowhere", "hooks", *args])
        seen = self._capsys.readouterr()
        return int(status), seen.out, seen.err

    def status(self, agent: str) -> dict[str, object]:
        status, out, _ = self.ctl("status", agent, "--json")
        assert status == 0
        (row,) = json.loads(out)
        assert isinstance(row, dict)
        return row

    def hooks(self, agent: str) -> object:
        return self.status(agent)["Hooks"]


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> User:
    home = tmp_path / "home"
    home.mkdir()
    for name in (
        "CLAUDE_CONFIG_DIR",
        "CODEX_HOME",
        "GEMINI_CLI_HOME",
        "PI_CODING_AGENT_DIR",
        "XDG_CONFIG_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(home / "bin"))
    found = User(home, capsys)
    monkeypatch.setattr("sys.argv", [str(home / "bin" / "musterctl")])
    return found


@pytest.mark.parametrize("agent", AGENTS)
def test_hooks_of_an_agent_come_and_go(user: User, agent: str) -> None:
    file = user.file(agent)
    assert user.hooks(agent) == "missing"
    assert user.ctl("install", agent)[1].startswith(f"{agent}: installed ({file})\n")
    assert str(user.hook) in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert user.hooks(agent) == "installed"
    before = file.stat()
    assert user.ctl("install", agent)[1].startswith(f"{agent}: installed already ({file})\n")
    assert file.stat() == before
    assert user.ctl("uninstall", agent) == (0, f"{agent}: uninstalled ({file})\n", "")
    assert user.ctl("uninstall", agent) == (0, f"{agent}: nothing to do ({file})\n", "")
    assert not file.exists()
    assert [path.name for path in file.parent.iterdir()] == []


@pytest.mark.parametrize("agent", ["claude-code", "codex", "gemini"])
def test_the_command_is_the_same_line_for_ever(user: User, agent: str) -> None:
    user.ctl("install", agent)
    hooks = json.loads(user.file(agent).read_text())["hooks"]
    commands = {event: groups[0]["hooks"][0]["command"] for event, groups in hooks.items()}
    otherwise = " || echo '{}'" if agent == "gemini" else ""
    assert commands == {event: f"{user.hook} {agent} {event}{otherwise}" for event in hooks}
    assert "Stop" in hooks or "AfterAgent" in hooks


def test_gemini_goes_on_when_the_hook_is_gone(user: User) -> None:
    """An exit status such as 127 would be a "no" to it: to each prompt of its user, and to each tool."""
    user.ctl("install", "gemini")
    user.hook.unlink()
    for groups in json.loads(user.file("gemini").read_text())["hooks"].values():
        command = ["/bin/sh", "-c", groups[0]["hooks"][0]["command"]]
        done = subprocess.run(command, input=b"{}", capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (0, b"{}\n")


def test_a_path_with_a_blank_is_quoted_for_the_shell(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    (user.home / "my bin").symlink_to(user.home / "bin")
    monkeypatch.setattr("sys.argv", [str(user.home / "my bin" / "musterctl")])
    user.ctl("install", "gemini", "pi")
    assert f"'{user.home}/my bin/musterd-hook' gemini AfterAgent" in user.file("gemini").read_text()
    assert f'const COMMAND = ["{user.home}/my bin/musterd-hook"]' in user.file("pi").read_text()


@pytest.mark.parametrize("agent", ["claude-code", "pi"])
def test_a_program_that_settings_cannot_name_is_refused(
    user: User, monkeypatch: pytest.MonkeyPatch, agent: str
) -> None:
    (user.home / "b\udcffn").symlink_to(user.home / "bin")
    monkeypatch.setattr("sys.argv", [str(user.home / "b\udcffn" / "musterctl")])
    status, out, err = user.ctl("install", agent)
    assert (status, out) == (1, "")
    assert re.fullmatch(r"musterctl: The name of '.*/b\\udcffn/.*' is not UTF-8\.\nHint: .*\n", err)
    assert not user.file(agent).exists()


@pytest.mark.parametrize("home", ["", "h"])
def test_a_home_directory_that_is_none_is_refused(
    user: User, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.setenv("HOME", home)
    status, out, err = user.ctl("status", "pi")  # installed it would be in "/", by whoever may
    assert (status, out) == (1, "")
    assert "Set HOME" in err


@pytest.mark.parametrize(
    ("agent", "name", "value", "file"),
    [
        ("claude-code", "CLAUDE_CONFIG_DIR", "{}/c", "c/settings.json"),
        ("codex", "CODEX_HOME", "{}/x", "x/hooks.json"),
        ("gemini", "GEMINI_CLI_HOME", "{}/g", "g/.gemini/settings.json"),
        ("pi", "PI_CODING_AGENT_DIR", "{}/p", "p/extensions/musterd.ts"),
        ("opencode", "XDG_CONFIG_HOME", "{}/o", "o/opencode/plugins/musterd.js"),
    ],
)
def test_an_agent_that_lives_elsewhere(
    user: User, monkeypatch: pytest.MonkeyPatch, agent: str, name: str, value: str, file: str
) -> None:
    monkeypatch.setenv(name, value.format(user.home))
    user.ctl("install", agent)
    assert (user.home / file).exists()


def test_without_a_name_those_that_are_here_get_them(user: User) -> None:
    user.file("codex").parent.mkdir()
    user.program("gemini")
    status, out, err = user.ctl("install")
    assert (status, err) == (0, "")
    assert [line.partition(":")[0] for line in out.splitlines() if line[0] != " "] == ["codex", "gemini"]
    assert not user.file("pi").parent.exists()


def test_where_no_agent_is_the_name_is_asked_for(user: User) -> None:
    assert user.ctl("install") == (
        1, "", "musterctl: No agent was found, neither its program nor its settings.\nHint: Name it.\n",
    )  # fmt: skip


def test_an_agent_without_hooks_is_a_misuse(user: User) -> None:
    status, out, err = user.ctl("install", "aider")
    assert (status, out) == (2, "")
    assert err.startswith("musterctl: 'aider' has no hooks.\nHint: Those that have: claude-code, codex,")


def test_one_that_fails_does_not_keep_the_others_from_it(user: User) -> None:
    user.file("codex", "{")
    status, out, err = user.ctl("install", "codex", "gemini")
    assert status == 1
    assert out.startswith("gemini: installed")
    assert err.startswith(f"musterctl: {user.file('codex')} is not right: ")


def test_mode_and_link_of_a_file_stay(user: User) -> None:
    dotfiles = user.home / "dotfiles"
    dotfiles.mkdir()
    target = dotfiles / "claude.json"
    target.write_text('{"model": "x"}')
    target.chmod(0o640)
    link = user.file("claude-code")
    link.parent.mkdir()
    link.symlink_to("../dotfiles/claude.json")
    user.ctl("install", "claude-code")
    assert os.readlink(link) == "../dotfiles/claude.json"
    assert target.stat().st_mode & 0o777 == 0o640
    assert user.hooks("claude-code") == "installed"
    user.ctl("uninstall", "claude-code")
    assert target.read_text() == '{"model": "x"}'
    assert [path.name for path in dotfiles.iterdir()] == ["claude.json"]


def test_a_link_that_leads_nowhere_is_filled(user: User) -> None:
    link = user.file("gemini")
    link.parent.mkdir()
    link.symlink_to(user.home / "later.json")
    user.ctl("install", "gemini")
    assert link.is_symlink()
    assert user.hooks("gemini") == "installed"


def _write(text: str) -> Callable[[Path], None]:
    return lambda file: _put(file, text.encode())


def _put(file: Path, data: bytes, mode: int = 0o600) -> None:
    file.write_bytes(data)
    file.chmod(mode)


def _another_name(file: Path) -> None:
    file.write_text("{}")
    os.link(file, file.with_name("other"))


def _read_only_directory(file: Path) -> None:
    file.write_text("{}")
    file.parent.chmod(0o500)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "broken": (_write("{\n  "), "is not right: line 2: a string is missing, or has no end."),
    "empty": (_write(""), "is not right: line 1: it ends."),
    "no object": (_write("[]"), "is not right: it is no object."),
    "hooks that are none": (_write('{"hooks": 1}'), "is not right: its 'hooks' are no object."),
    "not UTF-8": (lambda file: _put(file, b'{"a": "\xff"}'), "is not UTF-8."),
    "read-only": (lambda file: _put(file, b"{}", 0o400), "is read-only."),
    "in a read-only directory": (_read_only_directory, "is in a read-only directory."),
    "huge": (lambda file: _put(file, b" " * (userfile.MAX_SIZE + 1)), "has more than 1048576 bytes."),
    "a directory": (lambda file: file.mkdir(), "is no plain file."),
    "a pipe": (lambda file: os.mkfifo(file), "is no plain file."),
    "a loop": (lambda file: file.symlink_to(file), "cannot be read: Too many levels of symbolic links."),
    "two names": (_another_name, "is a hard link, which would break."),
}  # fmt: skip


def written(file: Path) -> tuple[int, ...]:
    """All that is known of it but when it was read."""
    seen = file.lstat()
    return seen.st_ino, seen.st_mode, seen.st_nlink, seen.st_uid, seen.st_gid, seen.st_size, seen.st_mtime_ns


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_changed_safely_is_left_alone(user: User, case: str) -> None:
    prepare, says = BAD[case]
    file = user.file("claude-code")
    file.parent.mkdir()
    prepare(file)
    before, names = written(file), sorted(path.name for path in file.parent.iterdir())
    status, out, err = user.ctl("install", "claude-code")
    file.parent.chmod(0o700)
    assert (status, out) == (1, "")
    assert err.startswith(f"musterctl: {file} {says}\nHint: ")
    assert written(file) == before
    assert sorted(path.name for path in file.parent.iterdir()) == names


def test_a_file_of_another_user_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{}")
    if os.getuid():
        path = Path("/etc/passwd")
    else:
        os.chown(path, 1, -1)
    before = path.read_bytes()
    with pytest.raises(CtlError, match="belongs to another user"):
        userfile.write(userfile.read(str(path)), b"ours")
    assert path.read_bytes() == before


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{}")
    file = userfile.read(str(path))
    path.write_text('{"new": 1}')
    with pytest.raises(CtlError, match="was changed just now"):
        userfile.write(file, b"ours")
    with pytest.raises(CtlError, match="was changed just now"):
        userfile.write(file, None)
    assert path.read_text() == '{"new": 1}'
    assert [entry.name for entry in tmp_path.iterdir()] == ["settings.json"]


def test_a_file_that_appeared_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    file = userfile.read(str(path))
    path.write_text("{}")
    with pytest.raises(CtlError, match="was changed just now"):
        userfile.write(file, b"ours")
    assert path.read_text() == "{}"


@pytest.mark.parametrize("agent", ["pi", "opencode"])
def test_an_extension_that_is_not_ours_is_left_alone(user: User, agent: str) -> None:
    file = user.file(agent, "export default 1\n")
    status, _, err = user.ctl("install", agent)
    assert (status, err) == (1, f"musterctl: {file} is not ours.\nHint: Move it away, then try again.\n")
    assert user.ctl("uninstall", agent)[1] == f"{agent}: nothing to do ({file})\n"
    assert file.read_text() == "export default 1\n"
    assert user.hooks(agent) == "broken"


@pytest.mark.parametrize("agent", AGENTS)
def test_an_older_installation_is_outdated_until_it_is_installed_again(user: User, agent: str) -> None:
    user.ctl("install", agent)
    file = user.file(agent)
    new = file.read_text()
    file.write_text(new.replace(str(user.hook), "/old/musterd-hook"))
    assert user.hooks(agent) == "outdated"
    user.ctl("install", agent)
    assert file.read_text() == new


@pytest.mark.parametrize("text", ["{} // mine", '{"a": 1,}', "\ufeff{}"])
def test_codex_reads_plain_json_only(user: User, text: str) -> None:
    file = user.file("codex", text)
    assert user.ctl("install", "codex")[0] == 1
    assert user.hooks("codex") == "broken"
    assert file.read_bytes() == text.encode()


def test_codex_must_be_told_to_trust_them(user: User) -> None:
    user.ctl("install", "codex")
    file, config = user.file("codex"), user.home / ".codex" / "config.toml"
    untrusted = "not trusted yet: start codex, and choose 'Trust all and continue'"
    assert user.status("codex")["Doubt"] == untrusted
    config.write_text('model = "x"\n')
    assert user.status("codex")["Doubt"] == untrusted
    known = {hook.event: _trust(hook) for hook in merge.found(file.read_text())}
    lines = [f'[hooks.state."{file}:{_snake(event)}:0:0"]\n{value}\n' for event, value in known.items()]
    config.write_text("\n".join(lines))
    assert user.status("codex")["Doubt"] == ""
    config.write_text("\n".join(lines).replace(known["Stop"], 'trusted_hash = "sha256:0"'))
    assert str(user.status("codex")["Doubt"]).startswith("Stop has changed since: ")
    config.write_text("\n".join(lines) + "enabled = false\n")
    assert user.status("codex")["Doubt"] == "its SessionEnd was disabled in codex"
    config.write_text("broken")
    assert user.hooks("codex") == "broken"


def _trust(hook: Installed) -> str:
    """What codex writes when its user accepts a hook; tests/agents/test_trust.py has hashes of its own."""
    handler = f'{{"async":false,"command":"{hook.handler["command"]}","timeout":3,"type":"command"}}'
    identity = f'{{"event_name":"{_snake(hook.event)}","hooks":[{handler}]}}'
    return f'trusted_hash = "sha256:{hashlib.sha256(identity.encode()).hexdigest()}"'


def _snake(event: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in event).removeprefix("_")


@pytest.mark.parametrize(
    ("agent", "text", "doubt"),
    [
        ("claude-code", "{}", ""),
        ("claude-code", '{"disableAllHooks": false}', ""),
        ("claude-code", '{"disableAllHooks": true}', "hooks are off: 'disableAllHooks'"),
        ("gemini", '{"hooksConfig": {"enabled": true}}', ""),
        ("gemini", '{"hooksConfig": {"enabled": false}} // why', "hooks are off: 'hooksConfig.enabled'"),
        ("gemini", '{"hooksConfig": {"disabled": ["other", 1]}}', ""),
        ("gemini", """{"hooksConfig": {"disabled": ["HOOK gemini AfterAgent || echo '{}'"]}}""",
         "hooks of ours are in 'hooksConfig.disabled'"),
    ],
)  # fmt: skip
def test_settings_that_keep_hooks_from_running(user: User, agent: str, text: str, doubt: str) -> None:
    user.file(agent, text.replace("HOOK", str(user.hook)))
    user.ctl("install", agent)
    assert user.status(agent)["Doubt"] == doubt


@pytest.mark.parametrize(
    ("version", "doubt"),
    [("0.61.2", ""), ("0.62.0", "gemini 0.62.0 is outside the versions checked, 0.61 to 0.61")],
)
def test_the_version_of_an_agent_is_told(user: User, version: str, doubt: str) -> None:
    user.program("gemini", {"name": "@google/gemini-cli", "version": version})
    row = user.status("gemini")
    assert (row["Version"], row["Unsupported"]) == (version, doubt)


def test_the_table_for_people(user: User) -> None:
    user.ctl("install", "codex", "gemini")
    status, out, err = user.ctl()
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["AGENT", "HOOKS", "HEARD", "VERSION", "FILE"]
    assert [line.split()[:2] for line in lines[1:6]] == [
        ["claude-code", "missing"], ["codex", "installed"], ["gemini", "installed"], ["pi", "missing"],
        ["opencode", "missing"],
    ]  # fmt: skip
    assert "! codex: not trusted yet: start codex, and choose 'Trust all and continue'" in lines
