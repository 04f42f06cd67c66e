"""What the database refuses for ever: narrowed down to one record, which is asked about before it is called poison."""

from decimal import Decimal

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leaderboard import Limits, cut
from consumer.domain.outcomes import Committed, Done, Lost, Refused
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Entry, Game, Poison, Reason, Rules, poison
from consumer.worker.attempt import APART_PLAYERS
from consumer.worker.calls import Commit, Examine, Open, Read, Release
from tests.builders import ME, game, games, ignored, page, row, sequence_number
from tests.builders import poison as poison_at_decode
from tests.talks import Talk, kinds

INVALID = Refused(invalid="one digit too many")


def holding(*entries: Entry) -> Talk:
    """A talk whose shard has these buffered, and the next read under way."""
    talk = Talk(row(owner=ME))
    talk.answer(Open, "first")
    talk.answer(Read, page(*entries, then="second"))
    talk.look()
    return talk


def condemned(suspect: Game) -> Poison:
    return poison(suspect.wire, Reason.TOTAL_TYPE, "the stored totalScore is of type S", Rules())


def narrow(talk: Talk) -> Examine:
    """Refusals until one record is suspected."""
    while talk.asks(Commit):
        assert talk.answer(Commit, INVALID) == [], "at once again, cut smaller"
    return talk.call(Examine)


def test_a_refused_unit_is_halved_in_order_until_a_record_is_refused_alone() -> None:
    talk = holding(*games(1, 8))
    sizes = []
    while talk.asks(Commit):
        commit = talk.call(Commit)
        sizes.append(commit.unit.records)
        assert commit.unit.first == sequence_number(1)
        talk.tell(commit, INVALID)
    assert sizes == [8, 4, 2, 1]
    asked = talk.call(Examine)
    assert (asked.game, asked.detail, asked.final) == (game(1), "one digit too many", False)


def test_the_good_half_goes_in_and_the_rest_is_tried_again() -> None:
    talk = holding(*games(1, 4))
    talk.answer(Commit, INVALID)
    assert talk.call(Commit).unit.records == 2
    talk = holding(*games(1, 4))
    talk.answer(Commit, INVALID)
    talk.answer(Commit, Committed())
    following = talk.call(Commit).unit
    assert (following.previous, following.first, following.last) == tuple(map(sequence_number, (2, 3, 4)))


def test_a_record_that_was_found_guilty_is_quarantined_in_its_place() -> None:
    talk = holding(*games(1, 2))
    asked = narrow(talk)
    assert talk.tell(asked, condemned(asked.game)) == []
    commit = talk.call(Commit)
    assert commit.unit.poison == (condemned(asked.game),)
    assert commit.unit.deltas == {} or list(commit.unit.deltas) == ["foo"]
    assert commit.unit.first == sequence_number(1)


def test_neighbours_of_a_condemned_record_are_applied() -> None:
    talk = holding(game(1, "bad"), game(2, "good"), game(3, "good"))
    asked = narrow(talk)
    talk.tell(asked, condemned(asked.game))
    told: list[tuple[list[str], int]] = []
    while talk.asks(Commit):
        unit = talk.call(Commit).unit
        told.append((sorted(unit.deltas), len(unit.poison)))
        talk.tell(Commit(talk.lease, unit, frozenset(), False), Committed())
    assert told == [([], 1), (["good"], 0)]


def test_an_acquitted_record_is_tried_once_more_and_then_the_question_is_final() -> None:
    talk = holding(game(1))
    first = talk.call(Commit)
    talk.tell(first, INVALID)
    assert talk.answer(Examine, Done()) == []
    again = talk.call(Commit)
    assert again.unit is first.unit
    talk.tell(again, INVALID)
    assert talk.call(Examine).final


def test_an_acquittal_holds_for_one_record_alone() -> None:
    talk = holding(*games(1, 2))
    talk.tell(narrow(talk), Done())
    talk.answer(Commit, Committed())
    talk.answer(Commit, INVALID)
    assert talk.call(Examine).final is False


def test_trouble_with_the_question_condemns_nobody() -> None:
    talk = holding(game(1))
    talk.answer(Commit, INVALID)
    asked = talk.call(Examine)
    assert kinds(talk.tell(asked, Trouble(TroubleKind.REJECTED, "another key"))) == ["RetryScheduled"]
    assert not talk.asks(Examine)
    talk.wait(1)
    assert talk.call(Examine) == asked
    assert not talk.asks(Commit)


def test_trouble_with_the_last_question_makes_it_one_of_two_again() -> None:
    """What was refused may have been refused because of that trouble: it is tried once more before it is condemned."""
    talk = holding(game(1))
    talk.answer(Commit, INVALID)
    talk.answer(Examine, Done())
    talk.answer(Commit, INVALID)
    asked = talk.call(Examine)
    assert asked.final
    talk.tell(asked, Trouble(TroubleKind.REJECTED, "another key"))
    talk.wait(1)
    anew = talk.call(Examine)
    assert not anew.final
    talk.tell(anew, Done())
    talk.answer(Commit, INVALID)
    assert talk.call(Examine).final


def test_a_refused_unit_without_a_game_to_blame_is_trouble() -> None:
    for entry in (ignored(1), poison_at_decode(1)):
        talk = holding(entry)
        talk.wait(10)
        assert kinds(talk.answer(Commit, INVALID)) == ["RetryScheduled"]
        assert not talk.asks(Examine)
        assert talk.wait(1).call(Commit).unit.records == 1


def test_suspects_are_kept_apart_so_that_their_neighbours_are_not_cut_again() -> None:
    talk = holding(game(1, "a"), game(2, "b"), game(3, "c"), game(4, "a"))
    talk.answer(Commit, Refused(invalid="a stored date is no date", suspects=frozenset({"b"})))
    sizes = []
    for _ in range(3):
        commit = talk.call(Commit)
        sizes.append((commit.unit.records, sorted(commit.unit.deltas)))
        talk.tell(commit, Committed())
    assert sizes == [(1, ["a"]), (1, ["b"]), (2, ["a", "c"])]


def test_a_suspect_that_goes_in_after_all_is_a_player_like_any_other() -> None:
    talk = holding(game(1, "b"), game(2, "c"))
    talk.answer(Commit, Refused(invalid="no", suspects=frozenset({"b"})))
    talk.answer(Commit, Committed())
    talk.answer(Commit, Committed())
    talk.answer(Read, page(game(3, "b"), game(4, "c")))
    assert talk.call(Commit).unit.records == 2


def test_a_condemned_player_stays_apart() -> None:
    talk = holding(game(1, "b"), game(2, "c"), game(3, "b"), game(4, "c"))
    asked = narrow(talk)
    talk.tell(asked, condemned(asked.game))
    told = []
    while talk.asks(Commit):
        commit = talk.call(Commit)
        told.append(commit.unit.records)
        talk.tell(commit, Committed())
    assert told == [1, 1, 1, 1]


def test_the_memory_of_refused_players_is_bounded() -> None:
    talk = holding(game(1, "a"), game(2, "b"))
    many = frozenset(f"p{number}" for number in range(2 * APART_PLAYERS))
    talk.answer(Commit, Refused(invalid="no", suspects=many))
    assert len(talk.machine._writer.attempt._apart) == APART_PLAYERS


def test_a_rewind_forgets_the_suspect() -> None:
    talk = holding(game(1))
    talk.answer(Commit, INVALID)
    talk.answer(Examine, Done())
    read = talk.call(Read)
    talk.answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(9))))
    talk.tell(read, page())
    assert talk.call(Open).after == sequence_number(9)


def test_a_drain_asks_no_more() -> None:
    talk = holding(game(1))
    talk.answer(Commit, INVALID)
    asked = talk.call(Examine)
    talk.machine.drain()
    assert talk.tell(asked, condemned(asked.game)) == []
    assert not talk.asks(Commit)
    assert talk.asks(Release)


def test_a_player_kept_apart_is_a_unit_of_one_record() -> None:
    entries: list[Entry] = [ignored(1), game(2, "a"), game(3, "b"), game(4, "b"), ignored(5), game(6, "a")]
    limits = Limits(apart={"b"})
    sizes, left, previous = [], list(entries), TRIM_HORIZON
    while left:
        unit = cut(left, previous, limits, cut_at=0.0)
        sizes.append((unit.records, sum(delta.total for delta in unit.deltas.values())))
        del left[: unit.records]
        previous = unit.last
    assert sizes == [(2, Decimal(150)), (1, Decimal(150)), (1, Decimal(150)), (2, Decimal(150))]
