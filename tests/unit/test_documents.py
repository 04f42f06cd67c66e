"""What the documents list is what the code has: settings, metrics, commands, exit codes, log events, files, names."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from consumer.domain.errors import ConsumerError, FailureKind
from consumer.domain.verification import Verdict
from consumer.settings import OPTIONS, variable
from consumer.telemetry.metrics import PREFIX, PrometheusMeters
from consumer.worker.calls import Operation
from tests.support.command_line import commands

ROOT = Path(__file__).parents[2]
LEVELS = {"exception": "error"} | {name: name for name in ("debug", "info", "warning", "error", "critical")}
COMMAND_LINES = {"library.logged": {"warning", "error"}}
QUESTIONS = 10


def _read(name: str) -> str:
    return (ROOT / name).read_text()


def _rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    after = f"\n{text}".split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert lines is not None, f"no table under {heading}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def _section(text: str, heading: str) -> str:
    return f"\n{text}".split(f"\n{heading}\n", 1)[1].partition("\n## ")[0]


def _code(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


# --- lists ---


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    rows = _rows(_read("docs/reference.md"), "## Settings")
    listed = {name for row in rows for name in _code(row[0])} | (_code(rows[0][2]) & {variable("stream_arn")})
    assert listed == {variable(name) for name in OPTIONS}
    for names, default, _ in rows:
        variables = re.findall(r"`([^`]+)`", names)
        defaults = [text.strip("` ") for text in default.split(",")]
        for name, value in zip(variables, defaults, strict=True):
            shown = OPTIONS[name.removeprefix("CONSUMER_").lower()].default_text
            assert value in ((shown,) if shown else ("—", "made up")), name


def test_every_metric_is_in_the_reference() -> None:
    listed = {
        name.partition("{")[0] for row in _rows(_read("docs/reference.md"), "## Metrics") for name in _code(row[0])
    }
    meters = PrometheusMeters(version="1", worker_id="w", states=["running"], operations=[Operation.COMMIT])
    lines = meters.render().decode().splitlines()
    exported = {line.split()[2] for line in lines if line.startswith("# TYPE leaderboard_consumer")}
    assert {f"{PREFIX}_{name}" for name in listed} == exported - {f"{PREFIX}_info"}


def test_every_label_of_a_retry_is_in_the_reference() -> None:
    text = _read("docs/reference.md")
    rows = _rows(text, "### Labels of `retries_total`")
    assert [name for row in rows for name in _code(row[0])] == [operation.value for operation in Operation]
    reasons = _section(text, "### Labels of `retries_total`").partition("\n|")[0]
    assert _code(reasons) - {"reason"} == {kind.value for kind in FailureKind}


def test_every_command_is_in_the_readme() -> None:
    listed = set()
    for row in _rows(_read("README.md"), "## Run it"):
        first, *others = re.findall(r"`([^`]+)`", row[0])
        parts = re.sub(r" [A-Z-].*", "", first.removeprefix("consumer ")).split()
        listed |= {" ".join(parts)} | {" ".join([*parts[:-1], other]) for other in others}
    assert listed == set(commands())


def test_every_exit_code_is_in_the_readme() -> None:
    sentence = re.search(r"Exit codes: (.*?)`status`:", _read("README.md"), re.DOTALL)
    assert sentence is not None
    listed = {int(number) for number in re.findall(r"(?:^|· )(\d+) ", sentence[1].replace("\n", " "))}
    kinds: list[type[ConsumerError]] = [ConsumerError, *ConsumerError.__subclasses__()]
    assert listed == {kind.exit_code for kind in kinds} | {0, 7, 130} | {verdict.exit_code for verdict in Verdict}


def _logged() -> Iterator[tuple[str, str, set[str]]]:
    """Each event that the code logs: its name, its level, its fields."""
    for path in (ROOT / "consumer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Name("emit") | ast.Attribute(attr="emit"), [ast.Constant(str(name)), *_]):
                    for level in sorted(COMMAND_LINES.get(name, ())):
                        yield name, level, {field.arg for field in node.keywords if field.arg}
                case ast.Call(ast.Attribute(attr=method), [ast.Constant(str(name)), *_]) if method in LEVELS:
                    if re.fullmatch(r"[a-z_]+\.[a-z_]+", name):
                        yield name, LEVELS[method], {field.arg for field in node.keywords if field.arg}


def test_every_log_event_is_listed_with_level_and_fields() -> None:
    rows = _rows(_read("docs/log-events.md"), "# Log events")
    listed = {(*_code(name), level) for name, levels, _, _ in rows for level in levels.split(", ")}
    assert listed == {(name, level) for name, level, _ in _logged()}
    fields = {next(iter(_code(name))): _code(cell) for name, _, cell, _ in rows}
    for name, _, logged in _logged():
        assert logged - {"exc_info"} == fields[name], name


# --- files and names ---

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md"), ROOT / "tests" / "README.md"]


@pytest.mark.parametrize("document", [str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_the_files_that_a_document_names_exist(document: str) -> None:
    text = _read(document)
    paths = set(re.findall(r"`((?:consumer|tests|deploy|docs)/[^` *]+)`", text))
    links = {link.partition("#")[0] for link in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", text)}
    base = (ROOT / document).parent
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    assert [link for link in sorted(links) if not (base / link).exists()] == []


def test_the_documents_that_the_code_names_exist() -> None:
    texts = [path.read_text() for path in (ROOT / "consumer").rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"(?:docs|deploy)/[\w/-]+\.(?:md|json|yml)", text)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@cache
def _defined(file: str) -> set[str]:
    """Names of a file: classes, functions, constants, and `Class.name` for what is in a class."""

    def names(body: list[ast.stmt]) -> Iterator[str]:
        for node in body:
            match node:
                case ast.ClassDef(name=name):
                    yield name
                    yield from (f"{name}.{inner}" for inner in names(node.body))
                case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                    yield name
                case ast.Assign(targets=[ast.Name(id=name)]):
                    yield name

    return set(names(ast.parse(_read(file)).body))


def _named_in_files(text: str) -> set[tuple[str, str]]:
    """What a text says is in a file: "`Name` in `file`", or, in a table, "`file` `Name`, `Name`"."""
    flat = " ".join(text.split())
    found = {
        (file, name) for name, file in re.findall(r"`([A-Za-z_][\w.]*)` in `((?:consumer|tests)/[^`]+\.py)`", flat)
    }
    for file, names in re.findall(r"`((?:consumer|tests)/[^`]+\.py)`((?:,? `[A-Za-z_][\w.]*`(?! in))+)", flat):
        found |= {(file, name) for name in _code(names)}
    return found


@pytest.mark.parametrize(("document", "fewest"), [("ARCHITECTURE.md", 40), ("CONTRIBUTING.md", 20)])
def test_the_names_that_a_document_gives_with_their_files_exist(document: str, fewest: int) -> None:
    named = _named_in_files(_read(document))
    assert len(named) >= fewest
    assert [f"{name} in {file}" for file, name in sorted(named) if name not in _defined(file)] == []


def test_every_question_is_answered_with_a_file() -> None:
    section = _section(_read("CONTRIBUTING.md"), "## Ten questions of a new contributor")
    answers = re.split(r"^\*\*(\d+)\. ", section, flags=re.MULTILINE)[1:]
    assert [int(number) for number in answers[::2]] == list(range(1, QUESTIONS + 1))
    for number, answer in zip(answers[::2], answers[1::2], strict=True):
        assert re.search(r"`(?:consumer|tests)/[^`]+`|`python -m tests", answer), f"question {number}"


def test_every_module_is_in_the_layout() -> None:
    block = re.search(r"## Layout\n+```\n(.*?)^```", _read("ARCHITECTURE.md"), re.DOTALL | re.MULTILINE)
    assert block is not None
    listed: set[str] = set()
    folder = ""
    for line in block[1].splitlines():
        if heading := re.match(r"(consumer/\w+/)(?:\s|$)", line):
            folder = heading[1]
        elif line.startswith(" "):
            listed |= {folder + file for file in re.findall(r"[\w/]+\.py", line)}
        else:
            listed.add(line.split()[0])
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "consumer").rglob("*.py")}
    trivial = {file for file in files if file.endswith(("__init__.py", "__main__.py"))}
    assert files - trivial <= listed <= files


def test_the_walk_has_its_steps_in_order() -> None:
    steps = [row[0].strip("*") for row in _rows(_read("ARCHITECTURE.md"), "## A record's walk") if row[0]]
    assert steps == ["run", "poll", "decode", "fold", "commit", "report"]
