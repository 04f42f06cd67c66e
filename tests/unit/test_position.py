import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.leases import SHARD_END, TRIM_HORIZON, is_sequence_number, rank

DIGITS = st.text("0123456789", min_size=1, max_size=40)


@pytest.mark.parametrize("text", ["0", "1", "9" * 21, "1" + "0" * 39, "000000000000000000001"])
def test_sequence_numbers(text: str) -> None:
    assert is_sequence_number(text)
    assert rank(TRIM_HORIZON) < rank(text) < rank(SHARD_END)


@pytest.mark.parametrize("text", ["", "1" * 41, "12 ", "-1", "1.0", "²", "١٢", "0x1", "trim_horizon", "LATEST"])
def test_what_is_no_checkpoint(text: str) -> None:
    assert not is_sequence_number(text)
    with pytest.raises(ValueError, match="is not a checkpoint"):
        rank(text)


@pytest.mark.parametrize("value", [None, 1, 10**21, b"1", ["1"], True])
def test_only_text_is_a_sequence_number(value: object) -> None:
    assert not is_sequence_number(value)


def test_21_digits_come_before_40() -> None:
    assert rank("9" * 21) < rank("1" + "0" * 39)
    assert rank("9" * 39) < rank("1" + "0" * 39)
    assert rank("3" * 40) < rank("3" * 39 + "4")


@given(DIGITS, DIGITS)
def test_they_compare_as_integers(one: str, other: str) -> None:
    assert (rank(one) < rank(other)) == (int(one) < int(other))
    assert (rank(one) == rank(other)) == (int(one) == int(other))
