"""The code stays easy to read: short modules and functions, no import cycle, no copied lines, the field's names."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "consumer").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MOST_LINES = 500
MOST_LINES_OF_A_FUNCTION = 50
REASON = "# In one piece: "
"""What a longer function says inside, with its reason."""
MOST_SHARED_LINES = 5


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_a_module_is_short_and_so_are_its_functions(file: Path) -> None:
    text = file.read_text()
    lines = text.splitlines()
    assert len(lines) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            body = lines[node.lineno - 1 : node.end_lineno]
            assert len(body) <= MOST_LINES_OF_A_FUNCTION or any(REASON in line for line in body), node.name


# --- imports ---


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """The modules of ours that are imported when the module is, not later inside a function."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module


def test_no_module_imports_itself_by_way_of_others() -> None:
    modules = {_module(file) for file in FILES}
    graph = {_module(file): set(_imported(ast.parse(file.read_text()), modules)) for file in FILES}
    assert any(graph.values())
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"an import cycle: {' -> '.join(error.args[1])}")


# --- copied lines ---


def _counted_lines(text: str) -> list[tuple[int, str]]:
    """Number and text of the lines that count: no imports, no docstrings, no comments, no closing brackets."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if number not in left_out and not re.fullmatch(r"\s*([\]\)\},:]*|#.*)", line)
    ]


def _copies(texts: dict[str, str], length: int) -> list[str]:
    """Where a run of so many lines stands twice."""
    runs: dict[tuple[str, ...], list[tuple[str, int, int]]] = defaultdict(list)
    for name, text in texts.items():
        lines = _counted_lines(text)
        for place in range(len(lines) - length + 1):
            run = lines[place : place + length]
            runs[tuple(line for _, line in run)].append((name, run[0][0], run[-1][0]))
    return [
        f"{file}:{first} and {other}:{other_first}"
        for places in runs.values()
        for (file, first, last), (other, other_first, _) in combinations(places, 2)
        if file != other or other_first > last
    ]


def test_no_six_lines_stand_in_two_places() -> None:
    assert _copies({_name(file): file.read_text() for file in FILES}, MOST_SHARED_LINES + 1) == []


def test_copied_lines_are_found_whatever_stands_between_them() -> None:
    lines = [f"x{number} = f({number})" for number in range(6)]
    once = "import os\n" + "\n".join(lines)
    again = "\n".join(["import re", *lines[:3], "", "# a comment", *lines[3:]])
    assert _copies({"a": once, "b": again}, 6) == ["a:2 and b:2"]
    assert _copies({"a": once, "b": again.replace("x4", "y4")}, 6) == []
    assert _copies({"a": f"{once}\n{again}"}, 6) == ["a:2 and a:9"]


# --- names ---


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


OLD_WORDS = _set(
    """
    agenda beat beaten beats befall birth births burial burials buried bury census desk doubt doubts enquiry errand
    errands flying foresight holdings house houses kin leftovers lifeline narrator nobody notation observatory
    outlook oversight overview overviews parcel person pin pinning pins placement placements plant planted planting
    plants programme pulse reckoning room rooms somebody surroundings survey surveyor surveys tell tells told
    trouble troubles vouch vouched vouches ward whoever wish wishes
    """
)
"""Words of no field: no part of any name may be one of them."""
OLD_NAMES = _set(
    """
    absence act acts allowance attempt choice common council crew crews ending faster hand head holding kept lane
    lanes look looks moments observer order outcomes pace perform picture scene settled shift stage standing state
    stayed taken talk talks tally trace turn turns word words work world
    """
)
"""Words that say too little alone: no class and no module has one of them for its whole name."""
OTHER_IDEAS = frozenset({"tests/simulation/trace.py"})
"""Modules of such a name that mean what the field means by it: here the trace of a run, not an audit entry."""
OLD_ACTIONS = _set("befall busy hear land look perform pick tell vouch wish")
"""The same of functions and methods."""


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything that is named: classes, functions, parameters, attributes, variables, keywords."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Attribute(attr=name) | ast.Name(id=name):
                yield node.lineno, name
            case ast.keyword(arg=str(name)):
                yield node.lineno, name
            case ast.alias(name=name, asname=other):
                yield node.lineno, other or name.rpartition(".")[2]


def _old_names(file: str, text: str) -> list[str]:
    """Where a name is left that the field does not have."""
    tree = ast.parse(text)
    is_old = Path(file).stem.strip("_") in OLD_NAMES | OLD_WORDS and file not in OTHER_IDEAS
    found = [f"{file}: the module"] if is_old else []
    found += [f"{file}:{line} {name}" for line, name in _names(tree) if _words(name) & OLD_WORDS]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name.strip("_").lower() in OLD_NAMES:
            found.append(f"{file}:{node.lineno} class {node.name}")
        if isinstance(node, ast.FunctionDef) and node.name.strip("_") in OLD_ACTIONS:
            found.append(f"{file}:{node.lineno} def {node.name}")
    return sorted(set(found))


@pytest.mark.parametrize("file", [*FILES, *TESTS], ids=_name)
def test_names_are_those_of_the_field(file: Path) -> None:
    assert _old_names(_name(file), file.read_text()) == []


def test_an_old_name_is_found_wherever_it_stands() -> None:
    text = """
class Look:
    def __init__(self, vouched: int) -> None:
        self._outlook = vouched

    def perform(self) -> None:
        f(told=self.lookahead)
"""
    assert _old_names("consumer/worker/agenda.py", text) == [
        "consumer/worker/agenda.py: the module",
        "consumer/worker/agenda.py:2 class Look",
        "consumer/worker/agenda.py:3 vouched",
        "consumer/worker/agenda.py:4 _outlook",
        "consumer/worker/agenda.py:4 vouched",
        "consumer/worker/agenda.py:6 def perform",
        "consumer/worker/agenda.py:7 told",
    ]
