"""Sums are exact: what goes in as a decimal comes back as the same one (design: G6)."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.domain.numbers import EXACT
from consumer.domain.records import Reason
from consumer.domain.replies import Committed, Refused
from tests.contract.differences import ROUNDS_SUMS
from tests.contract.subject import Score, Subject, Value, unit
from tests.support.builders import ME, commit_plain, game, lease, plain_rows, row, sequence_number

MOST = "9." + "9" * 37


@pytest.mark.parametrize(
    "score",
    [
        "0", "-0", "0.0", "0E+3", "0E-130", "0E-167", "0E+125", "1", "-1", "150.00", "-0.5", "1E+3", "-1.5E+20",
        "1E-7", "9" * 38, "-" + "9" * 38, "9" * 37 + ".9", "0." + "0" * 20 + "1" * 38, "1E-130", "-1E-130",
        "1E+125", "9.99E+125", f"{MOST}E+125", f"-{MOST}E+125", f"{MOST}E-93", "1." + "0" * 36 + "1",
    ],
)  # fmt: skip
def test_a_score_comes_back_exact(subject: Subject, score: str) -> None:
    subject.create_root_rows(row(owner=ME))
    given = EXACT.create_decimal(score)
    assert commit_plain(subject.commits, lease(), unit(game(1, score=given))) == Committed()
    _same(subject, subject.board()["foo"].total, Decimal(score))


@pytest.mark.parametrize(
    ("stored", "added"),
    [
        ("0.1", "0.2"),
        ("150", "-150"),
        ("-0.5", "0.25"),
        ("1" * 27, "1"),
        ("1" * 20 + "." + "1" * 5, "0.00001"),
        ("1E-130", "-1E-130"),
        ("1.5E-100", "-1.5E-100"),
        ("9.99E+125", "-9.99E+125"),
        ("1E+20", "1E-7"),
    ],
)
def test_a_sum_is_exact(subject: Subject, stored: str, added: str) -> None:
    assert _add(subject, stored, added) == Committed()
    assert subject.board() == {"foo": Score(Decimal(2), EXACT.add(Decimal(stored), Decimal(added)), "2026-01-31")}


@pytest.mark.parametrize(
    ("stored", "added"),
    [("9" * 38, "-1"), ("1" * 30, "1"), ("1" * 38, "0"), ("1E+20", "1E-17"), ("-" + "9" * 30, "0.5")],
)
def test_a_sum_of_up_to_38_digits_is_exact(subject: Subject, stored: str, added: str) -> None:
    exact = EXACT.add(Decimal(stored), Decimal(added))
    assert _add(subject, stored, added) == Committed()
    _same(subject, subject.board()["foo"].total, exact)


@pytest.mark.parametrize(
    ("stored", "added"),
    [
        ("9" * 38, "0.1"),
        ("1E+37", "0.1"),
        ("1E+125", "1"),
        ("1E-130", "1"),
        ("9.99E+125", "9E+125"),
        ("-9.99E+125", "-9E+125"),
        ("1E+125", "-1E-130"),
    ],
)
def test_a_sum_that_no_number_can_hold_is_refused(subject: Subject, stored: str, added: str) -> None:
    subject.create_root_rows(row(owner=ME))
    commit_plain(subject.commits, lease(), unit(game(1, score=stored)))
    before = subject.everything()
    second = game(2, score=added)
    games = unit(game(3, "bar"), second, previous=sequence_number(1))
    reply = subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False)
    if subject.has(ROUNDS_SUMS):
        assert reply == Committed()
        return
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert not reply.later
    assert not reply.conflict
    assert subject.everything() == before
    verdict = subject.commits.examine(second)
    assert verdict is not None
    assert verdict[0] is Reason.TOTAL_OVERFLOW
    assert subject.commits.examine(game(3, "bar")) is None


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(scores=st.lists(st.decimals(-(10**15), 10**15, places=6), min_size=1, max_size=5))
def test_any_scores_add_up(subject: Subject, scores: list[Decimal]) -> None:
    """One unit per score: the database adds them, not the fold."""
    before = subject.board().get("foo", Score(Decimal(0), Decimal(0), None))
    held = subject.row(row().shard)
    if held is None:
        subject.create_root_rows(row(owner=ME))
    first = int(held.checkpoint) if held else int(sequence_number(0))
    previous = held.checkpoint if held else "TRIM_HORIZON"
    for number, score in enumerate(scores, start=first - int(sequence_number(0)) + 1):
        games = unit(game(number, score=score), previous=previous)
        assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False) == Committed()
        previous = games.last
    after = subject.board()["foo"]
    assert Decimal(after.games or 0) == Decimal(before.games or 0) + len(scores)
    assert Decimal(after.total or 0) == sum(scores, Decimal(before.total or 0))


def _same(subject: Subject, total: Value, exact: Decimal) -> None:
    if subject.has(ROUNDS_SUMS) and len(exact.normalize(EXACT).as_tuple().digits) > 28:
        assert isinstance(total, Decimal)
        assert total != exact
        assert abs(total - exact) <= abs(exact) * Decimal("1E-27")
    else:
        assert total == exact


def _add(subject: Subject, stored: str, added: str) -> object:
    subject.create_root_rows(row(owner=ME))
    commit_plain(subject.commits, lease(), unit(game(1, score=stored)))
    games = unit(game(2, score=added), previous=sequence_number(1))
    return subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False)
