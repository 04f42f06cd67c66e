"""What a record counts as in a replay, by its quarantine row's word, and how records become batches."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from consumer.domain.leaderboard import MAX_ACTIONS, Limits, cut
from consumer.domain.quarantine import Head, State
from consumer.domain.records import Entry, Ignored, Outcome, Poison, Rules, decode
from consumer.domain.repairs import decode_again
from consumer.domain.replay import Batch
from consumer.operations.replay.reader import number_of

MOST_STATES: Final = 49
"""Quarantine rows that a batch asks about: half of the room beside the progress row."""


class Word(NamedTuple):
    """What a record counts as. `state`: its quarantine row's, None: it has none. `why`: it should count and cannot."""

    entry: Entry
    state: str | None
    why: str | None


def word_of(wire: Mapping[str, Any], head: Head | None, rules: Rules, floor: float | None) -> Word:
    """Without a row, what it means by the rules of now; with one that is applied its repaired image; else nothing."""
    if head is None:
        entry: Entry = decode(wire, rules, floor)
    elif head.state == State.APPLIED:
        repairs = head.settled.repairs if head.settled is not None else {}
        entry, _ = decode_again(wire, repairs, rules, only_wrong=False)
    else:
        entry = Ignored(number_of(wire), 0.0, Outcome.IGNORED)
    state = head.state if head is not None else None
    if isinstance(entry, Poison):
        return Word(_nothing(entry), state, f"{entry.reason}: {entry.detail}")
    return Word(entry, state, None)


def without(word: Word, why: str) -> Word:
    """The record counts as nothing, as the database refuses it."""
    return Word(_nothing(word.entry), word.state, why)


def cut_batch(words: Sequence[Word], previous: str, most: int | None, apart: Collection[str]) -> Batch:
    """The longest batch that begins with the first of `words` and fits a transaction, of at most `most` records."""
    fitting = _with_few_states(words)
    states = sum(word.state is not None for word in fitting)
    limits = Limits(actions=MAX_ACTIONS - 1 - states, records=most, apart=apart)
    unit = cut((word.entry for word in fitting), previous, limits, 0.0)
    of_unit = fitting[: unit.records]
    return Batch(
        unit,
        {word.entry.sequence_number: word.state for word in of_unit if word.state is not None},
        {word.entry.sequence_number: word.why for word in of_unit if word.why is not None},
    )


def _with_few_states(words: Iterable[Word]) -> list[Word]:
    taken: list[Word] = []
    states = 0
    for word in words:
        states += word.state is not None
        if states > MOST_STATES:
            break
        taken.append(word)
    return taken


def _nothing(entry: Entry) -> Ignored:
    return Ignored(entry.sequence_number, entry.created, Outcome.IGNORED)
