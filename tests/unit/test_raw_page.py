import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.aws.streams import decoded_page, raw_page
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TableNames, is_sequence_number
from consumer.domain.records import Rules
from consumer.domain.replies import Page, RawPage
from consumer.worker.calls import Ports, execute
from consumer.worker.shard_calls import PAGE_RECORDS, Read
from tests.support.builders import lease, wire
from tests.support.fakes import FakeStreams, FakeTables, decoded

T = TypeVar("T")
TWO = json.dumps({"Records": [wire(1), wire(2)], "NextShardIterator": "next"}).encode()


def page_or_none(body: bytes) -> RawPage | None:
    """The page, decoded the same in both ways; None when the body is malformed. No other error is raised."""
    page, entries = or_none(lambda: raw_page(body)), or_none(lambda: decoded_page(body, Rules(), None))
    if page is None:
        assert entries is None
        return None
    assert page.next_iterator is None or isinstance(page.next_iterator, str)
    assert all(is_sequence_number(record["dynamodb"]["SequenceNumber"]) for record in page.records)
    assert entries == decoded(page, Rules(), None)
    return page


def or_none(decode: Callable[[], T]) -> T | None:
    try:
        return decode()
    except CallFailed as failure:
        if failure.kind is not FailureKind.MALFORMED:
            raise
        return None


def test_a_page() -> None:
    assert raw_page(TWO) == RawPage([wire(1), wire(2)], "next", len(TWO))
    assert raw_page(b'{"Records": []}') == RawPage([], None, 15)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"7",
        b'"Records"',
        b"\xff\xfe",
        b"<html>busy</html>",
        b'{"Records": null}',
        b'{"Records": 7}',
        b'{"Records": {}}',
        b'{"Records": ""}',
        b'{"Records": {"dynamodb": 1}}',
        b'{"Records": "abc"}',
        b'{"Records": [null]}',
        b'{"Records": [[]]}',
        b'{"Records": [{}]}',
        b'{"Records": [{"dynamodb": null}]}',
        b'{"Records": [{"dynamodb": []}]}',
        b'{"Records": [{"dynamodb": "SequenceNumber"}]}',
        b'{"Records": [{"dynamodb": {}}]}',
        b'{"Records": [{"dynamodb": {"SequenceNumber": 1}}]}',
        b'{"Records": [{"dynamodb": {"SequenceNumber": ""}}]}',
        b'{"Records": [{"dynamodb": {"SequenceNumber": "-1"}}]}',
        b'{"Records": [], "NextShardIterator": 7}',
        b'{"Records": [], "NextShardIterator": []}',
        b'{"Records": []',
        b'{"Records": []}}',
        b'{"Records": [' + b"9" * 5000 + b"]}",
        b"[" * 100_000,
        b'{"Records":' * 100_000,
    ],
)
def test_what_is_no_page_is_a_failed_call(body: bytes) -> None:
    assert page_or_none(body) is None


def test_one_bad_record_makes_no_page_of_its_neighbours() -> None:
    broken = wire(2)
    del broken["dynamodb"]["SequenceNumber"]
    assert page_or_none(json.dumps({"Records": [wire(1), broken]}).encode()) is None


@pytest.mark.parametrize("size", range(0, len(TWO), 7))
def test_a_truncated_page_is_a_failed_call(size: int) -> None:
    assert page_or_none(TWO[:size]) is None


@given(st.binary())
@example(b"\x00{}")
@example(b"\xef\xbb\xbf{}")
def test_arbitrary_bytes(body: bytes) -> None:
    page_or_none(body)


@given(st.integers(0, len(TWO) - 1), st.binary(min_size=1, max_size=4))
def test_a_page_with_bytes_overwritten(at: int, noise: bytes) -> None:
    page_or_none(TWO[:at] + noise + TWO[at + len(noise) :])


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
NUMBERS = st.from_regex(r"\A[0-9]{1,41}\Z") | JSON
CHANGES = st.fixed_dictionaries({}, optional={"SequenceNumber": NUMBERS, "NewImage": JSON}) | JSON
RECORDS = st.fixed_dictionaries({}, optional={"dynamodb": CHANGES, "eventName": JSON}) | JSON
REPLIES = st.fixed_dictionaries(
    {}, optional={"Records": st.lists(RECORDS, max_size=3) | JSON, "NextShardIterator": st.text() | JSON}
)


@given(REPLIES)
def test_json_of_any_shape(reply: dict[str, Any]) -> None:
    page_or_none(json.dumps(reply).encode())


@pytest.mark.parametrize("where", ["image", "event"])
def test_nesting_of_any_depth_is_a_failed_call_or_a_page(where: str) -> None:
    """Also where the body can just be parsed, but its records could not be encoded again."""

    class Deep(FakeStreams):
        def poll(self, iterator: str, limit: int, rules: Rules, start_time: float | None) -> Page:
            assert limit == PAGE_RECORDS
            nested = "[" * int(iterator) + "]" * int(iterator)
            record = json.dumps(wire(1, score=None)).replace("{", "{" + '"userIdentity":' + nested + ",", 1)
            if where == "event":
                record = json.dumps(wire(1)).replace('"INSERT"', nested)
            return decoded_page(b'{"Records":[' + record.encode() + b"]}", rules, start_time)

    streams, tables = Deep(lambda: 0.0, "arn"), FakeTables(TableNames(), ())
    ports = Ports(streams, tables, tables, tables, Rules())
    for depth in [*range(1, 40), *range(850, 1000)]:
        reply = execute(Read(lease(), str(depth), "1", None), ports)
        assert isinstance(reply, Page) or (isinstance(reply, CallFailed) and reply.kind is FailureKind.MALFORMED)
