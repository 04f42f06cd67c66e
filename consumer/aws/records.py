"""An answer of GetRecords: a page in wire form for people's commands, a decoded one for the worker."""

from functools import lru_cache
from typing import Any, Final, Generic, Protocol, TypeVar

from msgspec import DecodeError, Struct, defstruct, field
from msgspec.json import Decoder

from consumer.aws import notation
from consumer.aws.kept import Kept
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Page, RawPage
from consumer.domain.position import are_sequence_numbers
from consumer.domain.records import UNKNOWN_CREATION, Entry, Rules, decode, plain_game, uncounted


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


class _Answer(Struct, Generic[_I], frozen=True, gc=False):
    records: list[_Record[_I]] = field(name="Records")
    next_iterator: str | None = field(default=None, name="NextShardIterator")


@lru_cache
def _decoder(rules: Rules) -> Decoder[_Answer[_Image]]:
    """ValueError for an attribute whose name has a quote, a backslash or a control character in it."""
    names: list[tuple[str, Any, str]] = [
        ("player", _Text, rules.player_attribute),
        ("score", _Number, rules.score_attribute),
        ("timestamp", _Text, rules.timestamp_attribute),
    ]
    fields = [(name, kind, field(default=kind(), name=attribute)) for name, kind, attribute in names]
    image = defstruct("_Image", fields, frozen=True, gc=False)
    answer: Any = _Answer
    return Decoder(answer[image])


def raw_page(body: bytes) -> RawPage:
    """The page; Trouble when the answer is none. A record without a sequence number has no place in a shard."""
    try:
        answer = notation.read(body)
        records, iterator = answer["Records"], answer.get("NextShardIterator")
        sound = isinstance(records, list) and (iterator is None or isinstance(iterator, str))
        sound = sound and are_sequence_numbers([record["dynamodb"]["SequenceNumber"] for record in records])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _NO_PAGE from None
    if not sound:
        raise _NO_PAGE
    return RawPage(records, iterator, len(body))


def decoded_page(body: bytes, rules: Rules, floor: float | None) -> Page:
    """The records of `raw_page`, decoded (see `decode`). Raises Trouble.

    Only the fields that count are parsed. What is not like nearly all takes a closer look, at the whole record.
    """
    answer = _answer(body, rules)
    if answer is None:
        raw = raw_page(body)
        entries = [decode(wire, rules, floor, Kept(body, place)) for place, wire in enumerate(raw.records)]
        return Page(entries, raw.next_iterator, raw.size_bytes)
    entries, wires = [], None
    for place, record in enumerate(answer.records):
        kept = Kept(body, place)
        entry = _entry(record, rules, floor, kept)
        if entry is None:
            wires = wires or raw_page(body).records
            entry = decode(wires[place], rules, floor, kept)
        entries.append(entry)
    return Page(entries, answer.next_iterator, len(body))


def _entry(record: _Record[_Image], rules: Rules, floor: float | None, kept: Kept) -> Entry | None:
    """None: it takes a closer look."""
    change = record.change
    created = change.created if -UNKNOWN_CREATION < change.created < UNKNOWN_CREATION else UNKNOWN_CREATION
    if record.event != "INSERT" or (floor is not None and created < floor):
        return uncounted(change.sequence_number, created, record.event, floor)
    image = change.image
    if image is None:
        return None
    return plain_game(
        change.sequence_number, created, image.player.text, image.score.text, image.timestamp.text, rules, kept
    )


def _answer(body: bytes, rules: Rules) -> _Answer[_Image] | None:
    """None: some field that counts is of another kind than nearly always, or it is no page at all."""
    try:
        if not body.isascii():
            body.decode()  # what is skipped is not looked at so closely
        answer = _decoder(rules).decode(body)
        sound = are_sequence_numbers([record.change.sequence_number for record in answer.records])
    except (DecodeError, ValueError, RecursionError):
        return None
    return answer if sound else None


_NO_PAGE: Final = Trouble(TroubleKind.MALFORMED, "GetRecords answered what is no page of records")
