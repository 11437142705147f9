"""The scripts as texts: their headers tell the truth, and each is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import corral
from corral import script
from jobs import BASE, Stage, job

PACKAGE = Path(corral.__file__).parent
LUA = PACKAGE / "lua"
SCRIPTS = sorted(path.stem for path in LUA.glob("*.lua"))
INCLUDES = sorted(path.stem for path in (LUA / "includes").glob("*.lua"))

TEXTS = {name: (LUA / f"{name}.lua").read_text("utf-8") for name in SCRIPTS}
PARTS = {name: (LUA / "includes" / f"{name}.lua").read_text("utf-8") for name in INCLUDES}

BETWEEN_EVENTS = {"then", "or", "none"}


def included(text: str) -> set[str]:
    """Names of the paragraphs that a text includes, theirs too."""
    names = set(re.findall(r"^-- include: (\w+)$", text, re.MULTILINE))
    return names.union(*(included(PARTS[name]) for name in names))


def whole(name: str) -> str:
    return "\n".join([TEXTS[name], *(PARTS[part] for part in sorted(included(TEXTS[name])))])


def header(name: str) -> str:
    """The comment that a script begins with."""
    lines = TEXTS[name].splitlines()
    end = next(at for at, line in enumerate(lines) if not line.startswith("--") or line.startswith("-- include:"))
    return "\n".join(lines[:end])


def code(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_header_lists_purpose_keys_arguments_answer_and_events(name: str) -> None:
    lines = header(name).splitlines()
    assert re.fullmatch(r"-- [a-z]+: \w.*", lines[0])
    topics = [topic for line in lines if (topic := re.match(r"-- (KEYS 1|ARGV 1|Returns|Events:) *\S", line))]
    takes_arguments = "ARGV" in code(TEXTS[name])
    expected = ["KEYS 1", *(["ARGV 1"] if takes_arguments else []), "Returns", "Events:"]
    assert [topic[1] for topic in topics] == expected


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_header_lists_every_argument_that_is_read_by_its_number(name: str) -> None:
    listed = {int(number) for number in re.findall(r"^--(?: ARGV|     ) (\d+) ", header(name), re.MULTILINE)}
    read = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", code(TEXTS[name]))}
    assert listed == set(range(1, len(listed) + 1))
    assert read <= listed


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_header_names_the_events_that_are_emitted_and_no_others(name: str) -> None:
    said = header(name).split("Events:", 1)[1].replace("--", " ")
    words = set(re.findall(r"[a-z-]+", said)) - BETWEEN_EVENTS
    calls = re.findall(r"\bemit\(\w+, '([a-z-]+)'", whole(name))
    trimmed = re.findall(r"\bemit_trimmed\(\w+, [\w(]+(?:, '\w+'\))?, '([a-z-]+)'", whole(name))
    # Each call was read, the two definitions apart.
    assert len(calls) + len(trimmed) == len(re.findall(r"(?<!function )\bemit(?:_trimmed)?\(", code(whole(name))))
    assert words == {*calls, *trimmed}


@pytest.mark.parametrize("name", [*SCRIPTS, *INCLUDES])
def test_only_the_first_key_is_declared_and_only_scripts_read_arguments(name: str) -> None:
    text = code(TEXTS.get(name) or PARTS[name])
    assert set(re.findall(r"KEYS\[(\d+)\]", text)) <= {"1"}
    if name in INCLUDES:
        assert not re.search(r"\b(KEYS|ARGV)\b", text)


def test_every_script_and_every_paragraph_is_used() -> None:
    source = "".join(path.read_text("utf-8") for path in PACKAGE.glob("*scripts.py"))
    assert [name for name in SCRIPTS if f'"{name}"' not in source] == []
    assert set().union(*(included(text) for text in TEXTS.values())) == set(INCLUDES)


def test_only_script_py_reads_lua_or_runs_it() -> None:
    others = [path for path in PACKAGE.rglob("*.py") if path.name != "script.py"]
    assert len(others) > 10
    touching = re.compile(r"""\.lua\b|["']lua["'/]|["'](EVAL|EVALSHA|SCRIPT|FCALL)\b""")
    # These two only know where the key stands in such a command, to find its node in a Cluster.
    assert {path.name for path in others if touching.search(path.read_text("utf-8"))} == {
        "cluster_map.py",
        "routing.py",
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_loaded_script_holds_each_paragraph_once_and_before_its_use(name: str) -> None:
    text = script.load(name).text
    assert text.endswith(TEXTS[name])
    for part in INCLUDES:
        assert text.count(PARTS[part]) == (1 if part in included(TEXTS[name]) else 0)
    functions = re.findall(r"^local function (\w+)", text, re.MULTILINE)
    assert len(functions) == len(set(functions))
    for function in functions:
        first = re.search(rf"\b{function}\(", code(text))
        assert first is not None
        assert code(text)[: first.start()].endswith("local function ")


@pytest.mark.parametrize("name", [*SCRIPTS, *INCLUDES])
def test_a_text_includes_what_it_calls(name: str) -> None:
    text = TEXTS.get(name) or PARTS[name]
    homes = {function: part for part in INCLUDES for function in re.findall(r"local function (\w+)", PARTS[part])}
    own = set(re.findall(r"local function (\w+)", text))
    called = {function for function in re.findall(r"\b(\w+)\(", code(text)) if function in homes} - own
    assert {homes[function] for function in called} <= included(text)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_both_servers_accept_a_script_under_the_name_we_give_it(stage: Stage, name: str) -> None:
    loaded = script.load(name)
    assert (await stage.client.script_load(loaded.text)) in (loaded.sha, loaded.sha.encode())


@pytest.mark.parametrize("name", [name for name in SCRIPTS if "Reads only." in header(name)])
async def test_a_script_that_only_reads_runs_where_nothing_may_be_written(stage: Stage, name: str) -> None:
    await stage.lay({"1": job(), "active": ["1"]})
    await stage.client.execute_command("EVAL_RO", script.load(name).text, 1, BASE, "1")
    assert await stage.changed() == {}


def test_the_readers_are_marked_as_such() -> None:
    assert {name for name in SCRIPTS if "Reads only." in header(name)} == {"find_orphans", "job_state"}
