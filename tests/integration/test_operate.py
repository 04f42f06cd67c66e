"""docs/operate.md, played: five questions to a live pair of workers, on a terminal of 80 columns."""

import pytest

from tests.transcripts import COLUMNS, PAGE, masked, played


@pytest.mark.timeout(120)
def test_the_transcripts_are_what_the_commands_show() -> None:
    page = PAGE.read_text()
    assert masked(played(page)) == masked(page), "write the page again: .venv/bin/python -m tests.transcripts"


def test_the_transcripts_fit_a_terminal() -> None:
    blocks = PAGE.read_text().split("```")[1::2]
    assert max(len(line) for block in blocks for line in block.splitlines()) <= COLUMNS


def test_another_output_is_noticed() -> None:
    page = PAGE.read_text()
    assert masked(page.replace("healthy\n", "behind\n", 1)) != masked(page)
    assert masked(page.replace("owns 2", "owns 3", 1)) != masked(page)
    assert masked(page.replace("3 h 0 min", "2 h 59 min")) == masked(page)
