"""Our hooks in the text of settings, in and out again: nothing else of it changes."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musterd.ctl import merge
from musterd.ctl.jsontext import MAX_DEPTH, NotJson, parse

EVENTS = ("SessionStart", "PostToolUse", "Stop")
WANTED = {event: merge.handler(f"/usr/bin/musterd-hook codex {event}", 3) for event in EVENTS}

OTHERS = '{"hooks": [{"type": "command", "command": "notify-send done", "timeout": 1}]}'

TEXTS = {
    "nothing": "{}",
    "nothing, with a line end": "{}\n",
    "nothing but space": " { \n } \n",
    "an empty file of lines": "{\n}\n",
    "nothing but a comment": "{ // mine\n}\n",
    "nothing but a block": "{/* mine */}",
    "one line": '{"model": "x"}',
    "no line end": '{\n  "model": "x"\n}',
    "four blanks": '{\n    "model": "x",\n    "list": [1, 2]\n}\n',
    "tabs": '{\n\t"model": "x",\n\t"hooks": {\n\t\t"Stop": [\n\t\t\t' + OTHERS + "\n\t\t]\n\t}\n}\n",
    "Windows": '\ufeff{\r\n  "model": "x" // why\r\n}\r\n',
    "a trailing comma": '{\n  "model": "x", // why\n}\n',
    "a remark behind the last": '{\n  "a": 1, // one\n  "b": 2 // two  \n}\n',
    "a block behind the last": '{\n  "b": 2 /* two */ /* three */ }\n',
    "a remark in one line": '{"a": 1 // one\n}',
    "a remark before the brace": '{\n  "a": 1\n  // the end\n}\n',
    "odd layout": '{ "a" :1 ,\n\n\n"b":[ ],"hooks"   : { } ,  "c" : 3}  \n\n',
    "no hooks in it": '{\n  "hooks": {\n  }\n}\n',
    "an empty event": '{\n  "hooks": {\n    "Stop": [],\n    "SessionStart": [ ]\n  }\n}\n',
    "hooks of others": '{"hooks": {"Stop": [' + OTHERS + '], "PreToolUse": [' + OTHERS + "]}}",
    "hooks of others behind": '{\n "hooks": {\n  "Stop": [\n   ' + OTHERS + '\n  ]\n },\n "z": null\n}\n',
    "words in strings": '{"a": "// no comment", "b": "}{][,:", "c": "\\"\\\\", "d": "\\u00e9é 漢 😀"}',
    "another's use of our name": '{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": '
    '"sh -c \'musterd-hook codex Stop\'"}]}]}}',
    "switches among the events": '{"hooks": {"enabled": true, "disabled": ["x"]}}',
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_was_installed_is_uninstalled_to_the_byte(text: str) -> None:
    after = merge.installed(text, WANTED)
    assert {hook.event: hook.handler for hook in merge.found(after)} == WANTED
    assert merge.uninstalled(after) == text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_installing_again_changes_nothing(text: str) -> None:
    once = merge.installed(text, WANTED)
    assert merge.installed(once, WANTED) == once


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_uninstalling_what_is_not_there_changes_nothing(text: str) -> None:
    assert merge.uninstalled(text) == text


def test_a_new_file_is_plain_json_and_goes_again() -> None:
    text = merge.installed(None, WANTED)
    assert json.loads(text) == {"hooks": {event: [{"hooks": [WANTED[event]]}] for event in EVENTS}}
    assert text.endswith("}\n")
    assert merge.uninstalled(text) is None


@pytest.mark.parametrize("indent", [None, 1, 2, "\t"])
def test_an_agent_may_write_its_settings_anew(indent: int | str | None) -> None:
    before = {"model": "x", "hooks": {"Stop": [json.loads(OTHERS)]}, "z": {}}
    after = json.loads(merge.installed(json.dumps(before), WANTED))
    rewritten = json.dumps(after, indent=indent)
    assert merge.installed(rewritten, WANTED) == rewritten
    left = merge.uninstalled(rewritten)
    assert left is not None
    gone = {**before, "hooks": {"Stop": [json.loads(OTHERS)]}}
    if indent is None:  # in one line nothing tells whose the empty lists are
        gone["hooks"] |= {"SessionStart": [], "PostToolUse": []}  # type: ignore[operator]  # it is a dict
    assert json.loads(left) == gone


@pytest.mark.parametrize(
    ("case", "command"),
    [
        ("another path", "/opt/musterd/bin/musterd-hook codex Stop"),
        ("the slow way", "/usr/bin/musterctl hook codex Stop"),
        ("from the path", "musterctl hook codex Stop"),
    ],
)
def test_an_older_one_of_ours_is_replaced_where_it_stands(case: str, command: str) -> None:
    mine = f'{{"matcher": "x", "hooks": [{{"type": "command", "command": "{command}"}}]}}'
    text = f'{{"hooks": {{"Stop": [{OTHERS}, {mine}, {OTHERS}], "Gone": [{mine}, {OTHERS}]}}}}'
    hooks = json.loads(merge.installed(text, WANTED))["hooks"]
    other = json.loads(OTHERS)
    assert hooks["Stop"] == [other, {"hooks": [WANTED["Stop"]]}, other]
    assert hooks["Gone"] == [other]


def test_one_that_is_there_twice_stays_once() -> None:
    mine = json.dumps({"hooks": [WANTED["Stop"], {"type": "command", "command": "other"}, WANTED["Stop"]]})
    hooks = json.loads(merge.installed(f'{{"hooks": {{"Stop": [{mine}]}}}}', WANTED))["hooks"]
    assert hooks["Stop"] == [{"hooks": [WANTED["Stop"], {"type": "command", "command": "other"}]}]


def test_what_a_user_wrote_between_ours_stays() -> None:
    text = merge.installed('{\n  "a": 1\n}\n', WANTED)
    text = text.replace('"a": 1,', '"a": 1, // one').replace('    "Stop"', '    // stop\n    "Stop"')
    text = text.replace("\n}\n", ',\n  "z": 2\n}\n')
    left = merge.uninstalled(text)
    assert left is not None
    assert "// one" in left
    assert parse(left).plain == {"a": 1, "z": 2}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: it ends"),
        ("\n\n", "line 3: it ends"),
        ("[]", "it is no object"),
        ("null", "it is no object"),
        ('{"a": 1', "line 1: a comma or '}' is missing"),
        ('{\n"a" 1}', "line 2: a colon is missing"),
        ('{"a": 1}}', "line 1: there is something behind its end"),
        ('{"a": "b}', "line 1: a string is missing, or has no end"),
        ('{"a": "\\x"}', "line 1: a string is not right"),
        ("{a: 1}", "line 1: a string is missing, or has no end"),
        ("{'a': 1}", "line 1: a string is missing, or has no end"),
        ('{"a": yes}', "line 1: 'yes}' is no value"),
        ('{"a": 01}', "line 1: '01}' is no value"),
        ('{"a": 1,, "b": 2}', "line 1: a string is missing, or has no end"),
        ('{"a": /* 1}', "line 1: '/* 1}' is no value"),
        ("[" * (MAX_DEPTH + 1), "line 1: it is nested too deeply"),
        ("1" * 5000, "line 1: Exceeds the limit"),
        ('{"hooks": []}', "its 'hooks' are no object"),
        ('{"hooks": {}, "hooks": {}}', "'hooks' is there twice"),
        ('{"hooks": {"Stop": {}}}', "its hooks for 'Stop' are no list"),
        ('{"hooks": {"Stop": [], "Stop": []}}', "'Stop' is there twice"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(text: str, says: str) -> None:
    with pytest.raises(NotJson) as refused:
        merge.installed(text, WANTED)
    assert str(refused.value).startswith(says)


# Any JSON, in any layout

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_commands = st.sampled_from(["other", "musterd", "musterctl list", "x/musterd-hooks"]) | st.text()
_handlers = st.fixed_dictionaries({"type": st.just("command"), "command": _commands.filter(
    lambda command: not merge.is_ours(command))})  # fmt: skip
_groups = st.fixed_dictionaries({"hooks": st.lists(_handlers, max_size=2)}, optional={"matcher": st.text()})
_hooks = st.dictionaries(st.sampled_from([*EVENTS, "Other"]), st.lists(_groups, max_size=2), max_size=3)
_settings = st.builds(
    lambda rest, hooks: {**rest, **hooks},
    st.dictionaries(st.text().filter(lambda key: key != "hooks"), _values, max_size=3),
    st.just({}) | st.builds(lambda hooks: {"hooks": hooks}, _hooks),
)
_trivia = st.sampled_from(
    [
        "",
        "",
        "",
        " ",
        "\n",
        "\r\n",
        "\t",
        "  \n  ",
        "// x \n",
        " // }\r\n\t",
        "/**/",
        " /* \n , */ ",
        "/*{*/\n",
    ]
)


@st.composite
def _written(draw: st.DrawFn, values: st.SearchStrategy[object] = _settings) -> str:
    """Any of its settings, with anything that may stand between two tokens."""

    def write(value: object) -> str:
        match value:
            case Mapping():
                members = [f"{json.dumps(k)}{draw(_trivia)}:{write(v)}" for k, v in value.items()]
                inner = "{", members, "}"
            case list():
                inner = "[", [write(item) for item in value], "]"
            case _:
                return draw(_trivia) + json.dumps(value, ensure_ascii=False) + draw(_trivia)
        opening, parts, closing = inner
        text = ",".join(draw(_trivia) + part + draw(_trivia) for part in parts)
        comma = draw(st.sampled_from(["", ","])) + draw(_trivia) if parts else ""
        return draw(_trivia) + opening + draw(_trivia) + text + comma + closing + draw(_trivia)

    return draw(st.sampled_from(["", "\ufeff"])) + write(draw(values))


@settings(deadline=None)  # of a loaded machine it says nothing
@given(_written())
def test_any_settings_come_back(text: str) -> None:
    before = parse(text).plain
    after = merge.installed(text, WANTED)
    assert merge.installed(after, WANTED) == after
    assert merge.uninstalled(after) == text
    _contains(parse(after).plain, before)


def _contains(after: object, before: object) -> None:
    """All of `before`, in its order; lists may have more behind."""
    match before:
        case Mapping():
            assert isinstance(after, Mapping)
            assert [key for key in after if key in before] == list(before)
            for key, value in before.items():
                _contains(after[key], value)
        case list():
            assert isinstance(after, list)
            for one, other in zip(after, before, strict=False):
                _contains(one, other)
            assert len(after) >= len(before)
        case _:
            assert after == before


@settings(deadline=None)
@given(st.text(alphabet='{}[]",:/*\\ \n1atrue'))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    try:
        after = merge.installed(text, WANTED)
    except NotJson:
        return
    assert merge.uninstalled(after) == text
