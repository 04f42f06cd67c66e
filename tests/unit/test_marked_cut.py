"""Cutting a unit whose players' rows have marks: what is dealt with is left out, and only actions are counted."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.breaker import Breaker
from consumer.domain.cut import cut
from consumer.domain.fold import Delta, Limits, Place, Unit
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.records import Entry, Game, Ignored, Outcome, Poison
from tests.support.builders import CREATED, game, ignored, sequence_number
from tests.support.builders import poison as foos_poison

SINGLE, STOP, DEALT_WITH = Place(in_transaction=False), Place(stops=True), Place(inf, in_transaction=False)
ANY_POISON = Breaker(first=1_000)
PLAYERS = "abcde"


def poison(seq: int, player: str | None) -> Poison:
    return foos_poison(seq)._replace(player=player)


def up_to(position: int) -> Place:
    """The row's mark is that of the record at this position."""
    return Place(int(sequence_number(position)), in_transaction=False)


def cut_with(places: Mapping[str, Place], entries: Sequence[Entry], limits: Limits | None = None) -> Unit:
    limits = limits or Limits(breaker=ANY_POISON)
    return cut(entries, TRIM_HORIZON, limits, CREATED, place_of=lambda player, _: places.get(player, SINGLE))


def test_records_up_to_the_mark_are_already_settled() -> None:
    entries: list[Entry] = [game(1, "a", 1), game(2, "b", 10), poison(3, "a"), game(4, "a", 100), ignored(5)]
    unit = cut_with({"a": up_to(3)}, entries)
    assert {player: delta.total for player, delta in unit.deltas.items()} == {"a": Decimal(100), "b": Decimal(10)}
    assert unit.outcomes == {Outcome.APPLIED: 2, Outcome.ALREADY_SETTLED: 2, Outcome.MODIFIED: 1}
    assert unit.newest == {"a": (sequence_number(4), CREATED + 4), "b": (sequence_number(2), CREATED + 2)}
    assert not unit.poison
    assert (unit.first, unit.last, unit.records) == (sequence_number(1), sequence_number(5), 5)


def test_numbers_are_compared_as_numbers() -> None:
    """999 has one digit less than 1000, and sorts after it."""
    unit = cut_with({"a": up_to(999)}, [game(998, "a"), game(999, "a"), game(1000, "a")])
    assert unit.outcomes == {Outcome.ALREADY_SETTLED: 2, Outcome.APPLIED: 1}


def test_a_player_whose_records_are_all_dealt_with_has_no_delta() -> None:
    unit = cut_with({"a": DEALT_WITH, "b": up_to(4)}, [game(1, "a"), game(2, "b"), poison(3, "a"), game(4, "b")])
    assert (unit.deltas, unit.poison, unit.newest) == ({}, (), {})
    assert unit.outcomes == {Outcome.ALREADY_SETTLED: 4}


def test_a_player_with_poison_alone_has_an_empty_delta() -> None:
    unit = cut_with({}, [poison(1, "a"), poison(2, None)])
    assert unit.deltas == {"a": Delta(0, Decimal(0), "")}
    assert unit.newest == {"a": (sequence_number(1), CREATED + 1)}
    assert len(unit.poison) == 2


def test_without_marks_there_is_no_newest_record_and_poison_has_no_delta() -> None:
    unit = cut([game(1, "a"), poison(2, "b")], TRIM_HORIZON, Limits(breaker=ANY_POISON), CREATED)
    assert (list(unit.deltas), unit.newest) == (["a"], {})


def test_single_writes_are_no_actions() -> None:
    entries = [game(seq, f"player-{seq}") for seq in range(300)]
    assert cut_with({}, entries).records == 300
    places = {f"player-{seq}": Place() for seq in range(0, 300, 2)}
    assert cut_with(places, entries, Limits(actions=98, breaker=ANY_POISON)).records == 2 * 98


def test_poison_brings_its_players_row_into_the_transaction() -> None:
    """A head row, a part row, and the player's own row, once."""
    entries: list[Entry] = [game(1, "a"), poison(2, "a"), poison(3, "a"), poison(4, None), game(5, "b")]
    limits = [Limits(actions=actions, breaker=ANY_POISON) for actions in range(3, 8)]
    assert [cut_with({}, entries, limit).records for limit in limits] == [2, 2, 3, 3, 5]


def test_a_row_that_stops_is_not_passed() -> None:
    assert cut_with({"b": STOP}, [game(1, "a"), ignored(2), game(3, "b"), game(4, "a")]).records == 2
    assert cut_with({"b": STOP}, [game(1, "a"), poison(2, "b"), game(3, "a")]).records == 1


def test_a_place_is_asked_for_once_with_its_first_record() -> None:
    asked = []

    def place_of(player: str, created: float) -> Place:
        asked.append((player, created))
        return up_to(2)

    entries: list[Entry] = [game(1, "a"), poison(2, "b"), game(3, "b"), ignored(4), game(5, "a"), poison(6, "b")]
    cut(entries, TRIM_HORIZON, Limits(breaker=ANY_POISON), CREATED, place_of=place_of)
    assert asked == [("a", CREATED + 1), ("b", CREATED + 2)]


def test_poison_that_is_dealt_with_counts_for_the_breaker_all_the_same() -> None:
    """Its circuit was not stored: the checkpoint had not moved."""
    unit = cut_with({"a": DEALT_WITH}, [poison(1, "a"), game(2, "a")])
    assert unit.circuit.recent == 0b10
    assert unit.circuit.had_game


KINDS = st.sampled_from(["game", "game", "game", "poison", "ignored", "nameless"])
RECORDS = st.lists(st.tuples(KINDS, st.sampled_from(PLAYERS), st.integers(-9, 9)), min_size=1, max_size=40)
PLACES = st.dictionaries(
    st.sampled_from(PLAYERS),
    st.one_of(st.just(DEALT_WITH), st.just(STOP), st.just(Place()), st.integers(0, 45).map(up_to)),
)


def entries_of(records: Sequence[tuple[str, str, int]]) -> list[Entry]:
    made: list[Entry] = []
    for seq, (kind, player, score) in enumerate(records, start=1):
        match kind:
            case "game":
                made.append(game(seq, player, score))
            case "poison":
                made.append(poison(seq, player))
            case "nameless":
                made.append(poison(seq, None))
            case _:
                made.append(ignored(seq))
    return made


@given(RECORDS, PLACES, st.integers(4, 12), st.one_of(st.none(), st.integers(1, 40)))
def test_every_record_ends_once_and_each_delta_is_what_follows_the_mark(
    records: list[tuple[str, str, int]], places: dict[str, Place], actions: int, most: int | None
) -> None:
    entries = entries_of(records)
    unit = cut_with(places, entries, Limits(actions=actions, records=most, breaker=ANY_POISON))
    taken = entries[: unit.records]

    def follows(entry: Game | Poison) -> bool:
        place = places.get(entry.player, SINGLE) if entry.player is not None else SINGLE
        return int(entry.sequence_number) > place.dealt_with_to

    behind = [entry for entry in taken if isinstance(entry, Game | Poison) and follows(entry)]
    games = [entry for entry in behind if isinstance(entry, Game)]
    assert sum(unit.outcomes.values()) == len(taken) >= 1
    assert unit.outcomes.get(Outcome.APPLIED, 0) == len(games) == sum(delta.games for delta in unit.deltas.values())
    assert list(unit.poison) == [entry for entry in behind if isinstance(entry, Poison)], "whole, and in order"
    assert unit.outcomes.get(Outcome.MODIFIED, 0) == sum(isinstance(entry, Ignored) for entry in taken)
    assert (unit.first, unit.last) == (taken[0].sequence_number, taken[-1].sequence_number)
    assert unit.deltas.keys() == unit.newest.keys() == {entry.player for entry in behind} - {None}
    for player, delta in unit.deltas.items():
        own = [entry for entry in games if entry.player == player]
        last = [entry for entry in behind if entry.player == player][-1]
        assert (delta.games, delta.total) == (len(own), sum(entry.score for entry in own))
        assert unit.newest[player] == (last.sequence_number, last.created)


@given(RECORDS, PLACES, st.integers(4, 12))
def test_a_unit_fits_its_transaction_and_ends_only_where_it_must(
    records: list[tuple[str, str, int]], places: dict[str, Place], actions: int
) -> None:
    entries = entries_of(records)
    unit = cut_with(places, entries, Limits(actions=actions, breaker=ANY_POISON))
    together = {each.player for each in unit.poison} - {None}
    together |= {player for player in unit.deltas if places.get(player, SINGLE).in_transaction}
    needed = len(together) + sum(1 + len(each.parts) for each in unit.poison)
    assert needed <= actions
    stopping = [entry for entry in entries[1 : unit.records] if not isinstance(entry, Ignored)]
    first = entries[0].player if not isinstance(entries[0], Ignored) else None
    assert all(entry.player == first or places.get(entry.player or "", SINGLE) != STOP for entry in stopping)
    if unit.records < len(entries):
        following = entries[unit.records]
        assert not isinstance(following, Ignored), "nothing ends before an ignored record"
        place = places.get(following.player or "", SINGLE)
        cost = 2 + len(following.parts) if isinstance(following, Poison) else 1
        skipped = sum(isinstance(entry, Poison) for entry in entries[: unit.records]) - len(unit.poison)
        assert place.stops or needed + 3 * skipped + cost > actions
