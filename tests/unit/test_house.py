"""The house stays small: files that fit on a few screens, functions that fit on one."""

import ast
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "consumer").rglob("*.py"))
MOST_LINES = 250
MEDIAN_LINES = 150
MOST_LINES_OF_A_FUNCTION = 50
REASON = "# In one piece: "
"""What a longer function says inside, with its reason."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_is_short_and_so_are_its_functions(file: Path) -> None:
    text = file.read_text()
    lines = text.splitlines()
    assert len(lines) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            body = lines[node.lineno - 1 : node.end_lineno]
            assert len(body) <= MOST_LINES_OF_A_FUNCTION or any(REASON in line for line in body), node.name


def test_the_median_file_fits_on_two_screens() -> None:
    assert median(len(file.read_text().splitlines()) for file in FILES if file.name != "__init__.py") < MEDIAN_LINES
