import gzip
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.records import PART_BYTES, pack, unpack
from tests.support.builders import wire

TEXT = st.text(st.characters(codec=None), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_what_was_packed_comes_out_again(record: dict[str, Any]) -> None:
    assert unpack(pack(record)) == record


def test_the_same_record_gives_the_same_bytes() -> None:
    assert pack(wire()) == pack(wire())
    assert pack(wire())[0][4:8] == bytes(4), "gzip's header has no time"


def test_a_record_larger_than_an_item_is_in_parts_that_fit() -> None:
    noise = random.Random(1).randbytes(450_000).hex()
    record = wire(image={"blob": {"B": noise}})
    parts = pack(record)
    assert len(parts) == 2
    assert all(0 < len(part) <= PART_BYTES for part in parts)
    assert unpack(parts) == record


def test_a_missing_or_damaged_part_is_noticed() -> None:
    parts = pack(wire(image={"blob": {"B": random.Random(1).randbytes(450_000).hex()}}))
    for damaged in (parts[:1], parts[1:], (parts[1], parts[0]), (parts[0][:-1], parts[1]), ()):
        with pytest.raises(ValueError, match=r"whole record|Expecting"):
            unpack(damaged)
    with pytest.raises(ValueError, match="Expecting"):
        unpack([gzip.compress(b"no json")])
    flipped = bytes([parts[0][0], parts[0][1], *parts[0][2:500], parts[0][500] ^ 255, *parts[0][501:]])
    with pytest.raises(ValueError, match="whole record"):
        unpack((flipped, parts[1]))
