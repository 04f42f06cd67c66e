"""The checker of plain English finds what is not, and leaves names of the contract alone."""

import pytest

from tests.style import files, findings


def _found(text: str, file: str = "docs/example.md") -> list[tuple[int, str]]:
    return [(finding.line, finding.found) for finding in findings(file, text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The worker is told.", "told"),
        ("By the rules of now.", "of now"),
        ("The way on is `consumer resume`.", "The way on"),
        ("Nobody owns it.", "Nobody"),
        ("It counts once a minute.", "once a minute"),
        ("One item a game is written.", "One item a game"),
        ("At most 10 calls a second.", "10 calls a second"),
        ("Records a second, by outcome", "Records a second"),
        ("at most 5 s a request", "5 s a request"),
        ("CPU a record", "CPU a record"),
        ("The commit under way is settled.", "under way"),
        ("Trouble is never a reason.", "Trouble"),
    ],
)
def test_a_phrase_is_found(text: str, found: str) -> None:
    assert _found(text) == [(1, found)]


@pytest.mark.parametrize(
    "text",
    [
        "A second signal exits at once. It records a second failure.",
        'The attribute `beat`, the event `worker.buried`, the key "beat".',
        "It writes a row, reads a page and commits a unit.",
        "One writer is a worker; three of a kind.",
        "once per minute, one item per game, 10 calls per second",
        "It is on its way out.",
    ],
)
def test_plain_english_is_left_alone(text: str) -> None:
    assert _found(text) == []


def test_a_phrase_over_the_end_of_a_line_is_found_once() -> None:
    assert _found("It is counted once a\nminute.") == [(1, "once a minute")]
    assert _found("It was\ntold.") == [(2, "told")]


def test_of_python_only_texts_and_comments_are_read() -> None:
    text = 'told = {"told": beat}  # a beat\n"""The worker\'s beat."""\nprint(f"{told} is told")\n'
    assert _found(text, "consumer/example.py") == [(1, "beat"), (2, "beat"), (3, "told")]


def test_generated_figures_are_left_alone() -> None:
    assert _found("told\n<!-- bench:hot -->\ntold\n<!-- /bench:hot -->\ntold") == [(1, "told"), (5, "told")]


def test_code_documents_and_deployment_are_read() -> None:
    names = {str(path).rpartition("/")[2] for path in files()}
    assert {"README.md", "RUNBOOK.md", "rules.yml", "leaderboard-consumer.json", "shard.py", "Makefile"} <= names
