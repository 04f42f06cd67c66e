"""What DynamoDB refuses for ever: narrowed down to one record, which is examined before it is called poison."""

from decimal import Decimal

from consumer.domain.cut import cut
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Limits
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.records import Correction, Entry, Game, Poison, Reason, Rules, poison
from consumer.domain.replies import Committed, Done, Lost, Refused
from consumer.worker.commit_attempt import APART_PLAYERS
from consumer.worker.shard_calls import Commit, Examine, Open, Read, Release
from tests.support.builders import ME, game, games, ignored, page, plain_rows, row, sequence_number
from tests.support.builders import poison as poison_at_decode
from tests.support.drivers import ShardDriver, kinds

INVALID = Refused(invalid="one digit too many")
FINAL = (Reason.REFUSED, "one digit too many")


def holding(*entries: Entry) -> ShardDriver:
    """A shard with these records buffered, and the next read in flight."""
    driver = ShardDriver(row(owner=ME))
    driver.answer(Open, "first")
    driver.answer(Read, page(*entries, then="second"))
    driver.start_due()
    return driver


def found_poison(suspect: Game | Correction) -> Poison:
    return poison(suspect.wire, Reason.TOTAL_TYPE, "the stored totalScore is of type S", Rules())


def narrow(driver: ShardDriver) -> Examine:
    """Refusals until one record is suspected."""
    while driver.has_call(Commit):
        assert driver.answer(Commit, INVALID) == [], "sent again at once, cut smaller"
    return driver.call(Examine)


def test_a_refused_unit_is_halved_in_order_until_a_record_is_refused_alone() -> None:
    driver = holding(*games(1, 8))
    sizes = []
    while driver.has_call(Commit):
        commit = driver.call(Commit)
        sizes.append(commit.unit.records)
        assert commit.unit.first == sequence_number(1)
        driver.deliver(commit, INVALID)
    assert sizes == [8, 4, 2, 1]
    examine = driver.call(Examine)
    assert (examine.game, examine.otherwise) == (game(1), None)


def test_the_good_half_is_committed_and_the_rest_is_retried() -> None:
    driver = holding(*games(1, 4))
    driver.answer(Commit, INVALID)
    assert driver.call(Commit).unit.records == 2
    driver = holding(*games(1, 4))
    driver.answer(Commit, INVALID)
    driver.answer(Commit, Committed())
    following = driver.call(Commit).unit
    assert (following.previous, following.first, following.last) == tuple(map(sequence_number, (2, 3, 4)))


def test_a_record_found_to_be_poison_is_quarantined_in_its_place() -> None:
    driver = holding(*games(1, 2))
    examine = narrow(driver)
    assert driver.deliver(examine, found_poison(examine.game)) == []
    commit = driver.call(Commit)
    assert commit.unit.poison == (found_poison(examine.game),)
    assert commit.unit.first == sequence_number(1)


def test_neighbours_of_a_poison_record_are_applied() -> None:
    driver = holding(game(1, "bad"), game(2, "good"), game(3, "good"))
    examine = narrow(driver)
    driver.deliver(examine, found_poison(examine.game))
    reported: list[tuple[list[str], int]] = []
    while driver.has_call(Commit):
        unit = driver.call(Commit).unit
        reported.append((sorted(unit.deltas), len(unit.poison)))
        driver.deliver(Commit(driver.lease, unit, plain_rows(unit), fills_gap=False), Committed())
    assert reported == [([], 1), (["good"], 0)]


def test_a_record_without_a_reason_is_sent_once_more_and_the_next_refusal_is_final() -> None:
    driver = holding(game(1))
    first = driver.call(Commit)
    driver.deliver(first, INVALID)
    assert driver.answer(Examine, Done()) == []
    again = driver.call(Commit)
    assert again.unit is first.unit
    driver.deliver(again, INVALID)
    assert driver.call(Examine).otherwise == FINAL


def test_only_a_second_refusal_of_the_same_record_is_final() -> None:
    driver = holding(*games(1, 2))
    driver.deliver(narrow(driver), Done())
    driver.answer(Commit, Committed())
    driver.answer(Commit, INVALID)
    assert driver.call(Examine).otherwise is None


def test_a_failed_examination_is_retried_and_nothing_is_committed() -> None:
    driver = holding(game(1))
    driver.answer(Commit, INVALID)
    examine = driver.call(Examine)
    assert kinds(driver.deliver(examine, CallFailed(FailureKind.REJECTED, "another key"))) == ["RetryScheduled"]
    assert not driver.has_call(Examine)
    assert not driver.has_call(Commit)
    driver.wait(1)
    commit = driver.call(Commit)
    assert commit.unit.records == 1, "it is sent again: what was refused to every player may be taken now"
    driver.deliver(commit, INVALID)
    assert driver.call(Examine) == examine
    driver.deliver(examine, CallFailed(FailureKind.REJECTED, "another key"))
    driver.wait(2)
    driver.answer(Commit, INVALID)
    driver.answer(Examine, CallFailed(FailureKind.REJECTED, "another key"))
    assert driver.machine.lasting_failures() == {"examine fails: rejected: another key"}, "readiness says it"


def test_a_failed_final_examination_is_not_final_any_more() -> None:
    """The record may have been refused for the same reason: it is sent once more before it counts as poison."""
    driver = holding(game(1))
    driver.answer(Commit, INVALID)
    driver.answer(Examine, Done())
    driver.answer(Commit, INVALID)
    examine = driver.call(Examine)
    assert examine.otherwise == FINAL
    driver.deliver(examine, CallFailed(FailureKind.REJECTED, "another key"))
    driver.wait(1)
    driver.answer(Commit, INVALID)
    again = driver.call(Examine)
    assert again.otherwise is None
    driver.deliver(again, Done())
    driver.answer(Commit, INVALID)
    assert driver.call(Examine).otherwise == FINAL


def test_a_record_whose_quarantine_is_refused_too_is_a_game_again() -> None:
    """The lease table or the quarantine refuses what is written to it: no record is to blame."""
    driver = holding(*games(1, 2))
    examine = narrow(driver)
    driver.deliver(examine, found_poison(game(1)))
    commit = driver.call(Commit)
    assert commit.unit.poison
    assert kinds(driver.deliver(commit, INVALID)) == ["RetryScheduled"]
    commit = driver.wait(1).call(Commit)
    assert (commit.unit.records, commit.unit.poison) == (1, ())
    driver.deliver(commit, Committed())
    assert driver.call(Commit).unit.first == sequence_number(2)


def test_a_refused_record_that_is_no_game_is_retried() -> None:
    for entry in (ignored(1), poison_at_decode(1)):
        driver = holding(entry)
        driver.wait(10)
        assert kinds(driver.answer(Commit, INVALID)) == ["RetryScheduled"]
        assert not driver.has_call(Examine)
        assert driver.wait(1).call(Commit).unit.records == 1


def test_suspects_are_kept_apart_so_that_their_neighbours_are_not_cut_again() -> None:
    driver = holding(game(1, "a"), game(2, "b"), game(3, "c"), game(4, "a"))
    driver.answer(Commit, Refused(invalid="a stored date is no date", suspects=frozenset({"b"})))
    sizes = []
    for _ in range(3):
        commit = driver.call(Commit)
        sizes.append((commit.unit.records, sorted(commit.unit.deltas)))
        driver.deliver(commit, Committed())
    assert sizes == [(1, ["a"]), (1, ["b"]), (2, ["a", "c"])]


def test_a_suspect_that_is_committed_after_all_is_a_player_like_any_other() -> None:
    driver = holding(game(1, "b"), game(2, "c"))
    driver.answer(Commit, Refused(invalid="no", suspects=frozenset({"b"})))
    driver.answer(Commit, Committed())
    driver.answer(Commit, Committed())
    driver.answer(Read, page(game(3, "b"), game(4, "c")))
    assert driver.call(Commit).unit.records == 2


def test_the_player_of_a_poison_record_stays_apart() -> None:
    driver = holding(game(1, "b"), game(2, "c"), game(3, "b"), game(4, "c"))
    examine = narrow(driver)
    driver.deliver(examine, found_poison(examine.game))
    reported = []
    while driver.has_call(Commit):
        commit = driver.call(Commit)
        reported.append(commit.unit.records)
        driver.deliver(commit, Committed())
    assert reported == [1, 1, 1, 1]


def test_the_memory_of_refused_players_is_bounded() -> None:
    driver = holding(game(1, "a"), game(2, "b"))
    many = frozenset(f"p{number}" for number in range(2 * APART_PLAYERS))
    driver.answer(Commit, Refused(invalid="no", suspects=many))
    assert len(driver.machine._attempt._apart) == APART_PLAYERS


def test_a_rewind_forgets_the_suspect() -> None:
    driver = holding(game(1))
    driver.answer(Commit, INVALID)
    driver.answer(Examine, Done())
    read = driver.call(Read)
    driver.answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(9))))
    driver.deliver(read, page())
    assert driver.call(Open).after == sequence_number(9)


def test_a_drain_commits_no_more() -> None:
    driver = holding(game(1))
    driver.answer(Commit, INVALID)
    examine = driver.call(Examine)
    driver.machine.drain()
    assert driver.deliver(examine, found_poison(examine.game)) == []
    assert not driver.has_call(Commit)
    assert driver.has_call(Release)


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
