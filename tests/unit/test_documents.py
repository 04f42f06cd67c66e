"""What the documents list is what the code has: settings, metrics, commands, exit codes, log events, files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from consumer.cli.app import app
from consumer.domain.errors import ConsumerError
from consumer.settings import Settings, variable
from consumer.telemetry.metrics import PREFIX, PrometheusMeters

ROOT = Path(__file__).parents[2]
LEVELS = {"exception": "error"} | {name: name for name in ("debug", "info", "warning", "error", "critical")}
COMMAND_LINES = {"library.logged": {"warning", "error"}}


def _read(name: str) -> str:
    return (ROOT / name).read_text()


def _rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    after = f"\n{text}".split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert lines is not None, f"no table under {heading}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def _code(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    rows = _rows(_read("docs/reference.md"), "## Settings")
    told = {name for row in rows for name in _code(row[0])} | (_code(rows[0][2]) & {variable("stream_arn")})
    assert told == {variable(name) for name in Settings.model_fields}
    for names, default, _ in rows:
        variables = re.findall(r"`([^`]+)`", names)
        defaults = [each.strip("` ") for each in default.split(",")]
        for name, value in zip(variables, defaults, strict=True):
            actual = Settings.model_fields[name.removeprefix("CONSUMER_").lower()].default
            shown = f"{actual:g}" if isinstance(actual, float) else str(actual)
            assert value in (("—", "made up") if actual is None else (shown,)), name


def test_every_metric_is_in_the_reference() -> None:
    told = {name.partition("{")[0] for row in _rows(_read("docs/reference.md"), "## Metrics") for name in _code(row[0])}
    meters = PrometheusMeters(version="1", worker_id="w", states=["running"], operations=["Read"])
    lines = meters.render().decode().splitlines()
    exported = {line.split()[2] for line in lines if line.startswith("# TYPE leaderboard_consumer")}
    assert {f"{PREFIX}_{name}" for name in told} == exported - {f"{PREFIX}_info"}


def _commands(group: Any, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield before + name


def test_every_command_is_in_the_readme() -> None:
    told = set()
    for row in _rows(_read("README.md"), "## Run it"):
        first, *others = re.findall(r"`([^`]+)`", row[0])
        words = re.sub(r" [A-Z-].*", "", first.removeprefix("consumer ")).split()
        told |= {" ".join(words)} | {" ".join([*words[:-1], other]) for other in others}
    assert told == set(_commands(typer.main.get_command(app)))


def test_every_exit_code_is_in_the_readme() -> None:
    sentence = re.search(r"Exit codes: (.*?)`status`:", _read("README.md"), re.DOTALL)
    assert sentence is not None
    told = {int(number) for number in re.findall(r"(?:^|· )(\d+) ", sentence[1].replace("\n", " "))}
    kinds: list[type[ConsumerError]] = [ConsumerError, *ConsumerError.__subclasses__()]
    assert told == {kind.exit_code for kind in kinds} | {0, 7}


def _logged() -> Iterator[tuple[str, str, set[str]]]:
    """Each event that the code logs: its name, its level, its fields."""
    for path in (ROOT / "consumer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Name("tell") | ast.Attribute(attr="tell"), [ast.Constant(str(name)), *_]):
                    for level in sorted(COMMAND_LINES.get(name, ())):
                        yield name, level, {word.arg for word in node.keywords if word.arg}
                case ast.Call(ast.Attribute(attr=method), [ast.Constant(str(name)), *_]) if method in LEVELS:
                    if re.fullmatch(r"[a-z_]+\.[a-z_]+", name):
                        yield name, LEVELS[method], {word.arg for word in node.keywords if word.arg}


def test_every_log_event_is_listed_with_level_and_fields() -> None:
    rows = _rows(_read("docs/log-events.md"), "# Log events")
    told = {(*_code(name), level) for name, levels, _, _ in rows for level in levels.split(", ")}
    assert told == {(name, level) for name, level, _ in _logged()}
    fields = {next(iter(_code(name))): _code(cell) for name, _, cell, _ in rows}
    for name, _, logged in _logged():
        assert logged - {"exc_info"} == fields[name], name


DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md"), ROOT / "tests" / "README.md"]


@pytest.mark.parametrize("document", [str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_what_a_document_names_is_there(document: str) -> None:
    text = _read(document)
    paths = set(re.findall(r"`((?:consumer|tests|deploy|docs)/[^` *]+)`", text))
    links = {link.partition("#")[0] for link in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", text)}
    base = (ROOT / document).parent
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    assert [link for link in sorted(links) if not (base / link).exists()] == []


def test_the_walk_has_its_stations_in_order() -> None:
    steps = [row[0].strip("*") for row in _rows(_read("ARCHITECTURE.md"), "## A record's walk") if row[0]]
    assert steps == ["turn", "poll", "decode", "fold", "commit", "told"]
