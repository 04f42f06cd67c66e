import pytest

from consumer.domain.position import TRIM_HORIZON
from consumer.worker.buffer import Buffer
from tests.builders import CREATED, game, games, ignored, page, poison, sequence_number


def test_an_empty_buffer() -> None:
    buffer = Buffer(TRIM_HORIZON)
    assert (len(buffer), buffer.tail, buffer.size_bytes, buffer.idle) == (0, TRIM_HORIZON, 0, True)
    assert buffer.oldest_created is None


def test_pages_are_taken_in_order() -> None:
    buffer = Buffer(TRIM_HORIZON)
    buffer.extend(page(*games(1, 2), size_bytes=10), now=1.0)
    buffer.extend(page(size_bytes=5), now=2.0)
    buffer.extend(page(*games(3, 4), size_bytes=20), now=3.0)
    assert [entry.sequence_number for entry in buffer] == [sequence_number(seq) for seq in (1, 2, 3, 4)]
    assert (buffer.tail, buffer.size_bytes, buffer.since) == (sequence_number(4), 30, 1.0)
    assert buffer.oldest_created == CREATED + 1


def test_an_empty_page_leaves_the_tail_where_it_is() -> None:
    buffer = Buffer(sequence_number(9))
    buffer.extend(page(size_bytes=5), now=2.0)
    assert (buffer.tail, buffer.size_bytes) == (sequence_number(9), 0)


@pytest.mark.parametrize(
    ("dropped", "left", "size_bytes", "since"), [(1, 5, 60, 1.0), (2, 4, 50, 2.0), (3, 3, 50, 2.0), (5, 1, 30, 3.0)]
)
def test_bytes_are_held_until_a_page_is_all_committed(dropped: int, left: int, size_bytes: int, since: float) -> None:
    buffer = Buffer(TRIM_HORIZON)
    for number, size in enumerate((10, 20, 30), start=1):
        buffer.extend(page(*games(2 * number - 1, 2 * number), size_bytes=size), now=float(number))
    buffer.drop(dropped)
    assert (len(buffer), buffer.size_bytes, buffer.since) == (left, size_bytes, since)


def test_drained_and_filled_again() -> None:
    buffer = Buffer(TRIM_HORIZON)
    buffer.extend(page(*games(1, 3), size_bytes=10), now=1.0)
    buffer.drop(3)
    assert (len(buffer), buffer.size_bytes, buffer.idle, buffer.tail) == (0, 0, True, sequence_number(3))
    buffer.extend(page(game(4), size_bytes=7), now=5.0)
    assert (len(buffer), buffer.size_bytes, buffer.since) == (1, 7, 5.0)


def test_it_is_idle_while_it_holds_ignored_records_alone() -> None:
    buffer = Buffer(TRIM_HORIZON)
    buffer.extend(page(ignored(1), ignored(2)), now=0.0)
    assert (buffer.idle, len(buffer)) == (True, 2)
    buffer.extend(page(ignored(3), poison(4), ignored(5)), now=0.0)
    buffer.drop(3)
    assert (buffer.idle, len(buffer)) == (False, 2)
    buffer.drop(1)
    assert (buffer.idle, len(buffer)) == (True, 1)
