"""`musterctl` and its verbs about sessions, through the real program and the real daemon."""

import json
import os
import subprocess

import pytest

from helpers.installation import Installation, some_process
from helpers.programs import until
from musterd.bus.contract import Contract
from musterd.ctl.text import user_name

from .conftest import Enrol

SESSION = Contract.load().interfaces["org.musterd.Muster1.Session"]


def test_list_is_the_default(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol("--title", "the release", "--cwd", "/srv/app")
    outcome = musterd.ctl()
    heading, row, _, legend = outcome.stdout.splitlines()
    assert heading.split() == ["ID", "AGENT", "STATE", "SINCE", "MEMORY", "VERDICT", "TERMINAL", "WHAT"]
    assert row.split()[:3] == [session_id, "other", "starting"]
    assert row.endswith("the release (/srv/app)")
    assert legend.startswith("1 session: 1 starting; ")
    assert (outcome.status, outcome.stderr) == (0, "")


def test_an_empty_roll_is_said(musterd: Installation) -> None:
    assert musterd.ctl("list").stdout == "No sessions.\n"


def test_without_legend_there_are_rows_only(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    (row,) = musterd.ctl("--no-legend").stdout.splitlines()
    assert row.startswith(session_id)


def test_json_has_the_properties_of_the_bus(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol("--label", "one", "--", "resume", "me")
    (session,) = musterd.json("list")
    assert set(session) == set(SESSION.properties)
    assert (session["Id"], session["ResumeCommand"]) == (session_id, ["resume", "me"])
    assert session["Memory"] > 0
    assert set(musterd.json("status", session_id)) == set(SESSION.properties)


def test_who_registers_may_ask_for_json(musterd: Installation) -> None:
    with some_process() as process:
        registered = musterd.json("register", "--pid", str(process.pid))
        assert registered == {"Id": musterd.register(process)}
        musterd.ctl("release", registered["Id"])


def test_ids_alone_for_completion(musterd: Installation, enrol: Enrol) -> None:
    ids = [enrol(), enrol()]
    assert musterd.ctl("list", "--quiet").stdout.split() == ids


def test_ended_sessions_are_listed_when_asked(musterd: Installation) -> None:
    with some_process() as process:
        session_id = musterd.register(process)
    until(lambda: session_id not in musterd.ctl("list", "-q").stdout.split(), "the daemon has heard of it")
    (session,) = [s for s in musterd.json("list", "--all") if s["Id"] == session_id]
    assert session["State"] == "ended"
    assert session_id in musterd.ctl("list", "-q", "--all").stdout.split()


def test_a_session_that_has_ended_costs_nothing_and_is_not_judged(musterd: Installation) -> None:
    def about(session_id: str) -> tuple[str, str, str, bool]:
        session = musterd.json("status", session_id)
        return session["State"], session["Verdict"], session["KeptBy"], session["Memory"] > 0

    with some_process() as process:
        session_id = musterd.register(process)
        musterd.ctl("explain", session_id)
        assert about(session_id) == ("starting", "keep", "identity", True)
        assert musterd.ctl("terminate", session_id).status == 0
    assert about(session_id) == ("ended", "", "", False)
    outcome = musterd.ctl("explain", session_id)
    assert (outcome.status, outcome.stdout) == (1, "")
    assert f"Session '{session_id}' has ended" in outcome.stderr


@pytest.mark.parametrize("verb", ["list", "status", "explain", "events", "top"])
def test_hostile_text_never_reaches_the_terminal(musterd: Installation, enrol: Enrol, verb: str) -> None:
    hostile = "\x1b[2J\x9b31mowned\x07\u202etxt.exe\nsecond line"
    session_id = enrol("--title", hostile, "--cwd", f"/tmp/{hostile}", "--", hostile)
    args = [verb] if verb in ("list", "top") else [verb, session_id]
    command = musterd.ctl_command(*args)
    with subprocess.Popen(command, env=musterd.environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if verb == "top":
            shown = next(line for line in iter(process.stdout.readline, "") if session_id in line)
        else:
            shown = process.stdout.read()
        process.kill()
    assert not set("\x1b\x9b\x07\u202e") & set(shown)
    assert r"\e[2J\x9b31mowned\x07\u202etxt.exe\nsecond line" in shown or verb == "explain"


def test_json_is_ascii_whatever_a_title_says(musterd: Installation, enrol: Enrol) -> None:
    enrol("--title", "\x1b[2J\u202e")
    assert musterd.ctl("--json").stdout.isprintable() is False  # newlines
    assert musterd.ctl("--json").stdout.replace("\n", "").isprintable()
    assert musterd.ctl("--json").stdout.isascii()


def test_the_beginning_of_an_id_is_enough(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    assert musterd.json("status", session_id[:-1])["Id"] == session_id


def test_an_ambiguous_beginning_is_refused(musterd: Installation, enrol: Enrol) -> None:
    first = {enrol()[0]}
    while (session_id := enrol())[0] not in first:  # ids begin with a letter: soon two begin alike
        first.add(session_id[0])
    outcome = musterd.ctl("status", session_id[0])
    assert (outcome.status, outcome.stdout) == (1, "")
    assert f"'{session_id[0]}' is the beginning of" in outcome.stderr


def test_a_dot_is_the_session_that_the_shell_runs_in(musterd: Installation) -> None:
    script = 'id=$($CTL register) && $CTL --json status . && $CTL release "$id"'
    environ = {**musterd.environ, "CTL": " ".join(musterd.ctl_command())}
    session = json.loads(subprocess.check_output(["sh", "-c", script], env=environ))
    assert session["Leader"] not in (0, os.getpid())


def test_outside_of_sessions_a_dot_means_none(musterd: Installation) -> None:
    outcome = musterd.ctl("explain")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr.splitlines()[0] == "musterctl: This shell runs in no session."


def test_protect_pins_and_unprotect_lets_go(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    assert musterd.ctl("protect", session_id).stdout == ""
    assert musterd.json("explain", session_id)["KeptBy"] == "protected"
    musterd.ctl("unprotect", session_id)
    assert musterd.json("status", session_id)["Protected"] is False


def test_nothing_is_done_when_one_of_several_names_is_wrong(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    assert musterd.ctl("protect", session_id, "nobody").status == 1
    assert musterd.json("status", session_id)["Protected"] is False


def test_a_released_session_is_off_the_roll_and_its_process_lives(musterd: Installation) -> None:
    with some_process() as process:
        session_id = musterd.register(process)
        assert musterd.ctl("release", session_id).status == 0
        assert session_id not in musterd.ctl("-q").stdout
        assert process.poll() is None


def test_a_session_of_another_host_lives_by_heartbeats(musterd: Installation) -> None:
    session_id = musterd.ctl("register", "--on-host", "far", "--cwd", "/srv").stdout.strip()
    assert musterd.ctl("heartbeat", session_id).status == 0
    assert musterd.json("status", session_id)["Leader"] == 0
    musterd.ctl("release", session_id)


def test_explain_says_it_in_a_sentence_and_gate_by_gate(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol("--agent", "other")
    lines = musterd.ctl("explain", session_id).stdout.splitlines()
    assert lines[0].startswith(f"Session '{session_id}' is kept: ")
    marks = {line.split()[1]: line.split()[0] for line in lines[3:-2]}
    assert (marks["protected"], marks["unsupported"], marks["identity"]) == ("✓", "✗", "?")
    assert lines[-1].startswith("✓ lets it go")


def test_explain_as_json(musterd: Installation, enrol: Enrol) -> None:
    explanation = musterd.json("explain", enrol())
    assert set(explanation) == {"Id", "Verdict", "KeptBy", "Gates"}
    assert {"Name", "Outcome", "AgeUSec", "Evidence"} == set(explanation["Gates"][0])


def test_status_of_the_daemon(musterd: Installation, enrol: Enrol) -> None:
    enrol()
    shown = musterd.ctl("status").stdout
    for label in (
        "Health: ok",
        "Sessions: 1 (1 starting)",
        "Pressure: ",
        "Reaper: dry-run",
        "Inhibitors: 0",
    ):
        assert label in shown
    assert musterd.json("status")["Reaper"]["Mode"] == "dry-run"


def test_pressure(musterd: Installation) -> None:
    assert musterd.ctl("pressure").stdout.lstrip().startswith("Pressure: ")
    assert set(musterd.json("pressure")) >= {"Tier", "Source", "SomeAvg10", "Available", "Total"}


def test_history_of_one_session(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    lines = musterd.ctl("--json", "events", session_id).stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["Kind"] == "registered"
    assert {event["Session"] for event in events} == {session_id}
    numbers = [event["Number"] for event in events]
    assert numbers == sorted(numbers)


def test_events_of_a_session_that_only_the_history_knows(musterd: Installation) -> None:
    with some_process() as process:
        session_id = musterd.register(process)
        assert musterd.ctl("release", session_id).status == 0
    assert musterd.ctl("status", session_id).status == 1
    events = [json.loads(line) for line in musterd.ctl("--json", "events", session_id).stdout.splitlines()]
    assert (events[0]["Kind"], events[-1]["Kind"]) == ("registered", "ended")


def test_only_as_many_events_as_asked(musterd: Installation, enrol: Enrol) -> None:
    enrol()
    enrol()
    assert len(musterd.ctl("events", "-n", "1").stdout.splitlines()) == 1


def test_the_mode_of_the_reaper_is_set_and_shown(musterd: Installation) -> None:
    assert musterd.ctl("reaper", "mode", "off", "--why", "a test").status == 0
    assert musterd.ctl("reaper", "mode").stdout == "off\n"
    shown = musterd.ctl("reaper").stdout.splitlines()
    assert shown[1].startswith(f"Set: by {user_name(os.getuid())} on ")
    assert shown[1].endswith(" ago: a test")
    assert "a test" in musterd.ctl("reaper", "history").stdout
    assert musterd.ctl("reaper", "mode", "dry-run").status == 0


def test_what_the_reaper_would_do(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    assert musterd.ctl("reaper").stdout.startswith("Mode: dry-run")
    (verdict,) = musterd.json("reaper")["Verdicts"]
    assert (verdict["Id"], verdict["Verdict"]) == (session_id, "keep")


def test_reaper_is_switched_on_and_off_by_its_operator(musterd: Installation) -> None:
    for mode in ("on", "dry-run"):
        assert musterd.ctl("reaper", "mode", mode).status == 0
        assert f"Mode: {mode}" in musterd.ctl("reaper").stdout
