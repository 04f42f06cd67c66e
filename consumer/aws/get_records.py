"""Pages of GetRecords, decoded. Only the fields that count are parsed; a whole record only when it is needed.

Few records are needed whole, and parsed they take six times the memory of their text.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, Protocol, TypeVar

from msgspec import DecodeError, Struct, defstruct, field
from msgspec.json import Decoder

from consumer.aws.wire import decode_json
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.records import UNKNOWN_CREATION, Entry, Rules, decode, plain_game, uncounted
from consumer.domain.replies import Page, RawPage


class LazyRecord(Mapping[str, Any]):
    """The record at an `index` of a page's body, parsed at each use. Raises CallFailed when the body is no JSON."""

    __slots__ = ("_body", "_index")

    def __init__(self, body: bytes, index: int) -> None:
        self._body = body
        self._index = index

    def __getitem__(self, name: str) -> Any:
        return self._record()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._record())

    def __len__(self) -> int:
        return len(self._record())

    def _record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._body)["Records"][self._index]
        except (ValueError, RecursionError):
            raise CallFailed(FailureKind.MALFORMED, "the record's page cannot be parsed") from None
        return record


def raw_page(body: bytes) -> RawPage:
    """The page in wire form. Raises CallFailed; a record without a sequence number has no position in its shard."""
    try:
        page = decode_json(body)
        records, iterator = page["Records"], page.get("NextShardIterator")
        valid = isinstance(records, list) and (iterator is None or isinstance(iterator, str))
        valid = valid and _are_sequence_numbers([record["dynamodb"]["SequenceNumber"] for record in records])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _NO_PAGE from None
    if not valid:
        raise _NO_PAGE
    return RawPage(records, iterator, len(body))


def decoded_page(body: bytes, rules: Rules, start_time: float | None) -> Page:
    """The entries that `decode` makes of the records of `raw_page`. Raises CallFailed.

    Nearly all records are decoded from the few fields that count. An unusual one is decoded as a whole.
    """
    parsed = _parse(body, rules)
    if parsed is None:
        raw = raw_page(body)
        entries = [decode(wire, rules, start_time, LazyRecord(body, index)) for index, wire in enumerate(raw.records)]
        return Page(entries, raw.next_iterator, raw.size_bytes)
    entries, wires = [], None
    for index, record in enumerate(parsed.records):
        lazy_record = LazyRecord(body, index)
        entry = _entry(record, rules, start_time, lazy_record)
        if entry is None:
            wires = wires or raw_page(body).records
            entry = decode(wires[index], rules, start_time, lazy_record)
        entries.append(entry)
    return Page(entries, parsed.next_iterator, len(body))


class _Text(Struct, frozen=True, gc=False):
    text: str = field(default="", name="S")


class _Number(Struct, frozen=True, gc=False):
    text: str = field(default="", name="N")


class _Image(Protocol):
    player: _Text
    score: _Number
    timestamp: _Text


_I = TypeVar("_I", bound=_Image)


class _Change(Struct, Generic[_I], frozen=True, gc=False):
    sequence_number: str = field(name="SequenceNumber")
    created: float = field(default=UNKNOWN_CREATION, name="ApproximateCreationDateTime")
    image: _I | None = field(default=None, name="NewImage")


class _Record(Struct, Generic[_I], frozen=True, gc=False):
    change: _Change[_I] = field(name="dynamodb")
    event: str = field(default="", name="eventName")


class _Page(Struct, Generic[_I], frozen=True, gc=False):
    records: list[_Record[_I]] = field(name="Records")
    next_iterator: str | None = field(default=None, name="NextShardIterator")


@lru_cache
def _decoder(rules: Rules) -> Decoder[_Page[_Image]]:
    """ValueError for an attribute whose name has a quote, a backslash or a control character in it."""
    attributes: list[tuple[str, Any, str]] = [
        ("player", _Text, rules.player_attribute),
        ("score", _Number, rules.score_attribute),
        ("timestamp", _Text, rules.timestamp_attribute),
    ]
    fields = [(name, kind, field(default=kind(), name=attribute)) for name, kind, attribute in attributes]
    image = defstruct("_Image", fields, frozen=True, gc=False)
    page: Any = _Page
    return Decoder(page[image])


def _parse(body: bytes, rules: Rules) -> _Page[_Image] | None:
    """The fields that count. None when one of them has an unusual type, or when the body is no page at all."""
    try:
        if not body.isascii():
            body.decode()  # the decoder does not validate the text that it skips
        page = _decoder(rules).decode(body)
        valid = _are_sequence_numbers([record.change.sequence_number for record in page.records])
    except (DecodeError, ValueError, RecursionError):
        return None
    return page if valid else None


def _entry(record: _Record[_Image], rules: Rules, start_time: float | None, lazy_record: LazyRecord) -> Entry | None:
    """The record decoded; None when the whole record is needed for that."""
    change = record.change
    created = change.created if -UNKNOWN_CREATION < change.created < UNKNOWN_CREATION else UNKNOWN_CREATION
    if record.event != "INSERT" or (start_time is not None and created < start_time):
        return uncounted(change.sequence_number, created, record.event, start_time)
    image = change.image
    if image is None:
        return None
    return plain_game(
        change.sequence_number, created, image.player.text, image.score.text, image.timestamp.text, rules, lazy_record
    )


_NO_PAGE: Final = CallFailed(FailureKind.MALFORMED, "the reply of GetRecords is no page of records")


def _are_sequence_numbers(texts: Sequence[str]) -> bool:
    """Whether all of `texts` are sequence numbers. One check for a whole page. TypeError when one is no text."""
    digits = "".join(texts)
    return not texts or (digits.isascii() and digits.isdigit() and all(0 < len(text) <= 40 for text in texts))
