"""The buffer of a shard, and the read-ahead budget that its bytes count against."""

import pytest

from consumer.domain.leases import TRIM_HORIZON
from consumer.worker.reader import Buffer, ReadAheadBudget
from tests.support.builders import CREATED, game, games, ignored, page, poison, sequence_number


def empty(position: str = TRIM_HORIZON) -> Buffer:
    return Buffer(position, ReadAheadBudget(1000))


def test_an_empty_buffer() -> None:
    buffer = empty()
    assert (len(buffer), buffer.tail, buffer.size_bytes, buffer.only_ignored) == (0, TRIM_HORIZON, 0, True)
    assert buffer.oldest_created is None


def test_pages_are_taken_in_order() -> None:
    buffer = empty()
    buffer.extend(page(*games(1, 2), size_bytes=10), now=1.0)
    buffer.extend(page(size_bytes=5), now=2.0)
    buffer.extend(page(*games(3, 4), size_bytes=20), now=3.0)
    assert [entry.sequence_number for entry in buffer] == [sequence_number(seq) for seq in (1, 2, 3, 4)]
    assert (buffer.tail, buffer.size_bytes, buffer.oldest_arrived_at) == (sequence_number(4), 30, 1.0)
    assert buffer.oldest_created == CREATED + 1


def test_an_empty_page_leaves_the_tail_where_it_is() -> None:
    buffer = empty(sequence_number(9))
    buffer.extend(page(size_bytes=5), now=2.0)
    assert (buffer.tail, buffer.size_bytes) == (sequence_number(9), 0)


@pytest.mark.parametrize(
    ("dropped", "left", "size_bytes", "arrived_at"),
    [(1, 5, 60, 1.0), (2, 4, 50, 2.0), (3, 3, 50, 2.0), (5, 1, 30, 3.0)],
)
def test_the_bytes_of_a_page_count_until_all_of_it_is_committed(
    dropped: int, left: int, size_bytes: int, arrived_at: float
) -> None:
    buffer = empty()
    for number, size in enumerate((10, 20, 30), start=1):
        buffer.extend(page(*games(2 * number - 1, 2 * number), size_bytes=size), now=float(number))
    buffer.drop(dropped)
    assert (len(buffer), buffer.size_bytes, buffer.oldest_arrived_at) == (left, size_bytes, arrived_at)


def test_emptied_and_filled_again() -> None:
    buffer = empty()
    buffer.extend(page(*games(1, 3), size_bytes=10), now=1.0)
    buffer.drop(3)
    assert (len(buffer), buffer.size_bytes, buffer.only_ignored, buffer.tail) == (0, 0, True, sequence_number(3))
    buffer.extend(page(game(4), size_bytes=7), now=5.0)
    assert (len(buffer), buffer.size_bytes, buffer.oldest_arrived_at) == (1, 7, 5.0)


def test_it_knows_whether_it_holds_ignored_records_alone() -> None:
    buffer = empty()
    buffer.extend(page(ignored(1), ignored(2)), now=0.0)
    assert (buffer.only_ignored, len(buffer)) == (True, 2)
    buffer.extend(page(ignored(3), poison(4), ignored(5)), now=0.0)
    buffer.drop(3)
    assert (buffer.only_ignored, len(buffer)) == (False, 2)
    buffer.drop(1)
    assert (buffer.only_ignored, len(buffer)) == (True, 1)


def test_bytes_are_taken_from_the_budget_and_given_back() -> None:
    budget = ReadAheadBudget(100)
    one, other = Buffer(TRIM_HORIZON, budget), Buffer(TRIM_HORIZON, budget)
    spent = [budget.spent]
    one.extend(page(*games(1, 2), size_bytes=60), now=0.0)
    spent.append(budget.spent)
    other.extend(page(game(1), ignored(2), size_bytes=40), now=0.0)
    spent.append(budget.spent)
    one.drop(2)
    spent.append(budget.spent)
    one.extend(page(game(3), size_bytes=60), now=0.0)
    spent.append(budget.spent)
    other.clear(sequence_number(7))
    spent.append(budget.spent)
    assert spent == [False, False, True, False, True, False]
    assert (len(other), other.tail, other.size_bytes, other.only_ignored) == (0, sequence_number(7), 0, True)
