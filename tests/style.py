"""Plain English in the code and its documents: `python -m tests.style [PATH ...]` prints file:line of what is not.

It reads comments, docstrings and texts of Python files, and whole lines of the others. Names in backticks, and quoted
words without a space, are names of the contract (`beat`, `worker.buried`): they are left alone.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PLACES = (
    "*.md", "docs/*.md", "consumer/**/*.py", "tests/**/*.py", "tests/**/*.md", "deploy/**/*", "Makefile", "Dockerfile",
    "pyproject.toml", ".ci/*", ".github/**/*", ".pre-commit-config.yaml",
)  # fmt: skip
KINDS = {".md", ".py", ".yml", ".yaml", ".json", ".toml", ""}


class Rule(NamedTuple):
    """What is not written, what is written instead, and the files (by the start of their path) where it may be."""

    pattern: re.Pattern[str]
    instead: str
    allowed: tuple[str, ...] = ()


def _rule(pattern: str, instead: str, *allowed: str) -> Rule:
    return Rule(re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE), instead, allowed)


_TIMES = "second|minute|hour|day|week|month|year"
_THINGS = (
    "record|game|player|shard|page|poll|commit|call|request|worker|item|alert|metric|row|event|file|transaction|batch"
    "|unit|statement|command|process|thread|table|package|stream|client|operation|write|read|listing|replica|task"
    "|availability zone|installation|reason|package|heartbeat"
)
_COUNTED = (
    "records|games|calls|writes|reads|units|polls|commits|lines|bytes|pages|transactions|times|shards|requests|items"
    "|statements|heartbeats|keys|turns|starts|actions|rows|deltas|seconds|clients"
)
_ONE = "item|row|heading|write|call|thread|file|line|unit|transaction|request|delta|test|page|entry|connection|key|noun"
_PER = "per, not `a`"
# "a second signal" is not per second: what follows must end the phrase.
_SECOND = r"(?=\s*(?:[.,;:)|\"]|$)|\s+(?:and|or|of|at|to|for|on|with|are|is|in|by|when|while|over|from)\b)"

RULES = (
    _rule("told|tells?|telling", "says, shows, reports, learns, passes"),
    _rule("of now", "current"),
    _rule("(?:the )?ways? on", "next: ..."),
    _rule("anew|afresh", "again"),
    _rule("whoever|whomever|somebody|someone|nobody|no one|anybody|anyone", "the operator, another worker, no worker"),
    _rule("persons?|people", "operator"),
    _rule("he|him|his|she|her", "operator; it"),
    _rule("troubles?", "a failed call; AWS does not answer"),
    _rule("vouch(?:es|ed|ing)?", "reports"),
    _rule("bur(?:y|ies|ied|ials?)", "evict"),
    _rule("beats?|beaten|beating|pulses?", "heartbeat"),
    _rule("errands?|flying|under ?way", "call timer; in flight"),
    _rule("holdings|census|survey(?:s|or|ed)?|outlook|agenda|narrat\\w*", "the field's word: see ARCHITECTURE.md"),
    _rule(
        "wards?|desks?|errands|foresight|left-?overs|observatory", "quarantine service, replay service, dry run, ..."
    ),
    _rule("placements?|overviews?|notation|parcels?|programmes?|lifelines?|surroundings", "the field's word"),
    _rule("reckonings?|enquir(?:y|ies)|oversights?|councils?|crews?", "verdict, driver, cluster"),
    _rule("pinning|pins?|planting|plants?|planted", "stream start; create root rows"),
    _rule("births?", "table binding"),
    _rule("floors?", "start time", "tests/performance", "docs/performance.md", "README.md"),
    _rule("doubts?|doubtful|open answers?|answer is open|answers? is open", "outcome unknown"),
    _rule("befalls?|befell|kin|wish(?:es|ed)?", "happens to; request"),
    _rule("rooms?|houses?", "package, code; space, budget"),
    _rule("asked again|asks again|ask again", "retried, sent again"),
    _rule(f"(?:once|twice|thrice) an? (?:{_TIMES}|{_THINGS})", _PER),
    _rule(rf"\d[\d,.]*(?: (?:{_COUNTED}|µs|ms|s|%|[KM]i?B))? an? (?:minute|hour|day|week|month|year|{_THINGS})", _PER),
    _rule(rf"(?:\d[\d,.]*(?: (?:{_COUNTED}))?|{_COUNTED}) a second{_SECOND}", _PER),
    _rule(f"(?:{_COUNTED}) an? (?:minute|hour|day|week|month|year)", _PER),
    _rule(f"(?:one|two|three|some|few|most)(?: (?:{_ONE})s?)? an? (?:{_TIMES}|{_THINGS})", _PER),
    _rule("(?:CPU|processor time|write units|write calls|units|µs|costs?) a (?:record|game|poll|player|page)", _PER),
)

ALLOWED = (
    ("CHANGELOG.md", "`"),  # says which names were renamed
    ("consumer/aws/leases.py", "#worker.beat"),  # a condition: the stored attribute's name
    ("tests/style.py", ""),  # the words themselves
    ("tests/unit/test_style.py", ""),
    ("tests/unit/test_code_style.py", ""),
)
"""Files, and what a line has in it that may hold any word."""

NAMES = re.compile(r"`[^`\n]*`|\"[^\"\s]*\"|'[^'\s]*'")
GENERATED = re.compile(r"<!-- (/?)bench:")
"""Figures between these marks are written by `make bench`."""


class Finding(NamedTuple):
    """A place, and what to write instead."""

    file: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.found!r}: {self.instead}"


def is_formatted(string: str) -> bool:
    """Whether the string's token has code in braces."""
    return re.match("[rR]?[fF]", string) is not None


def python_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of the comments and strings. A string without a space is a name."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            if token.type != tokenize.COMMENT and not re.search(r"\s", token.string):
                continue
            text = re.sub(r"\{[^{}]*\}", "{}", token.string) if is_formatted(token.string) else token.string
            yield from enumerate(text.split("\n"), start=token.start[0])


def document_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that a hand wrote."""
    generated = False
    for number, line in enumerate(text.split("\n"), start=1):
        mark = GENERATED.search(line)
        generated = generated if mark is None else not mark[1]
        if mark is None and not generated:
            yield number, line


def findings(file: str, text: str) -> Iterator[Finding]:
    """What is not plain English in a file. A phrase that goes over the end of a line is seen too."""
    lines = dict(python_lines(text) if file.endswith(".py") else document_lines(text))
    allowed = [mark for name, mark in ALLOWED if name == file]
    for number, line in lines.items():
        if any(mark in line for mark in allowed):
            continue
        plain = NAMES.sub("``", line)
        tail = " ".join(NAMES.sub("``", lines.get(number + 1, "")).lstrip(" #>-").split(" ")[:3])
        for rule in RULES:
            if file.startswith(rule.allowed) and rule.allowed:
                continue
            for found in rule.pattern.finditer(f"{plain.rstrip()} {tail}"):
                if found.start() < len(plain.rstrip()):
                    yield Finding(file, number, found[0], rule.instead)


def files() -> list[Path]:
    """All that is read."""
    found = {path for place in PLACES for path in ROOT.glob(place) if path.is_file() and path.suffix in KINDS}
    return sorted(path for path in found if "__pycache__" not in path.parts)


def main(places: list[str]) -> int:
    """The exit code; `places` are files and folders, none for all."""
    chosen = [path for path in files() if not places or str(path.relative_to(ROOT)).startswith(tuple(places))]
    found = [finding for path in chosen for finding in findings(str(path.relative_to(ROOT)), path.read_text())]
    for finding in found:
        print(finding)
    if found:
        print(f"{len(found)} phrases of {len({finding.file for finding in found})} files are not plain English")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
