"""When a player may be judged, what is compared, and what cannot be proven on a board."""

from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.fold import Delta, WindowSum
from consumer.domain.leases import SHARD_END, LeaseRow, Ledger, StreamStart, enabled_at
from consumer.domain.operator_ports import BoardState, Gap, TableFacts
from consumer.domain.records import UNKNOWN_CREATION, Rules
from consumer.domain.replies import ListedShard, StreamListing
from consumer.domain.verification import (
    MARGIN_SECONDS,
    SETTLING_SECONDS,
    SURE_PAGES,
    Assumption,
    Caveat,
    CaveatCode,
    Field,
    Known,
    Verdict,
    caveats,
    compare,
    compared_windows,
    every_shard_known,
    passed,
    quiet,
)
from consumer.domain.windows import Kind, WindowKind
from tests.support.builders import ARN, CREATED, finished, row, sequence_number

MOMENT = CREATED
OLD = StreamStart(ARN, None, ("shard-0",), complete=True, started_at=CREATED - 3_600)


# --- when all that was written has been dealt with ---


@pytest.mark.parametrize(
    ("stands", "has_passed"),
    [
        (row(checkpoint=sequence_number(1), created=MOMENT + MARGIN_SECONDS), True),
        (row(checkpoint=sequence_number(1), created=MOMENT + MARGIN_SECONDS - 0.001), False),
        (row(checkpoint=sequence_number(1)), False),
        (row(checkpoint=sequence_number(1), created=UNKNOWN_CREATION), False),
        (row(created=MOMENT + 3_600), False),
        (finished(0, 1), True),
    ],
    ids=["later", "too close", "not known", "no creation time", "nothing read yet", "finished"],
)
def test_a_row_shows_whether_its_shard_has_passed(stands: LeaseRow, *, has_passed: bool) -> None:
    """The `created` of a shard that was never read is no record's: it says when the row was made."""
    assert passed(stands, MOMENT) is has_passed


def test_only_enough_empty_pages_that_were_asked_for_late_enough_prove_something() -> None:
    late = MOMENT + SETTLING_SECONDS
    assert quiet([late] * SURE_PAGES, MOMENT)
    assert not quiet([late] * (SURE_PAGES - 1), MOMENT)
    assert not quiet([late - 0.001, *[late] * (SURE_PAGES - 1)], MOMENT)
    assert quiet([0.0, *[late] * SURE_PAGES], MOMENT)


def listing(*shards: tuple[int, int | None], served_at: float = MOMENT) -> StreamListing:
    listed = tuple(
        ListedShard(f"shard-{number}", None if parent is None else f"shard-{parent}") for number, parent in shards
    )
    return StreamListing(ARN, True, listed, served_at)


def test_a_child_may_be_listed_long_after_its_sibling() -> None:
    """The epoch of a child's row begins with the second in which its parent ended."""
    ended_at = int(MOMENT) - 1
    ledger = Ledger((finished(0, 1), row(1, parent=0, epoch=ended_at)), (OLD,))
    shown = listing((0, None), (1, 0))
    assert not every_shard_known(shown, ledger, MOMENT), "its sibling may still be hidden"
    assert every_shard_known(replace(shown, served_at=MOMENT + SETTLING_SECONDS), ledger, MOMENT)
    assert every_shard_known(replace(shown, served_at=ended_at + SETTLING_SECONDS), ledger, MOMENT + 100)
    sibling = listing((0, None), (1, 0), (2, 0), served_at=MOMENT + SETTLING_SECONDS)
    assert not every_shard_known(sibling, ledger, MOMENT), "no worker has adopted it yet"


def test_a_young_stream_may_have_roots_that_are_not_listed_yet() -> None:
    ledger = Ledger((row(checkpoint=sequence_number(1)),), (replace(OLD, started_at=MOMENT - 1),))
    assert not every_shard_known(listing((0, None)), ledger, MOMENT)
    assert every_shard_known(listing((0, None), served_at=MOMENT + SETTLING_SECONDS), ledger, MOMENT)
    assert every_shard_known(listing((0, None)), Ledger(ledger.rows, (OLD,)), MOMENT)


def test_a_finished_shard_without_children_is_believed_later() -> None:
    ledger = Ledger((finished(0), row(1)), (replace(OLD, roots=("shard-0", "shard-1")),))
    shown = listing((0, None), (1, None))
    assert not every_shard_known(shown, ledger, MOMENT)
    assert every_shard_known(replace(shown, served_at=MOMENT + SETTLING_SECONDS), ledger, MOMENT)
    forgotten = replace(ledger.rows[0], unlisted_since=MOMENT - 1)
    assert every_shard_known(shown, Ledger((forgotten, row(1)), ledger.stream_starts), MOMENT)


# --- what is compared ---

TODAY, YESTERDAY = "day_20260131", "day_20260130"
ROW = BoardState("foo", Decimal(2), Decimal("3.5"), "2026-01-31", {TODAY: (Decimal(1), Decimal(3))}, b"")
PLAYED = Delta(2, Decimal("3.50"), "2026-01-31", (WindowSum(TODAY, 1, Decimal(3)),))


def differing(stored: BoardState | None, played: Delta | None) -> list[str]:
    return [field.name for field in compare(stored, played, lambda window: window == TODAY)]


def test_a_row_that_says_what_the_games_say() -> None:
    assert differing(ROW, PLAYED) == []
    assert differing(None, None) == []
    mark_only = BoardState("foo", Decimal(0), Decimal(0), None, {}, b"")
    assert differing(mark_only, None) == []
    assert differing(ROW, PLAYED._replace(windows=(*PLAYED.windows, WindowSum(YESTERDAY, 9, Decimal(9))))) == []


def test_every_field_is_compared_to_the_last_digit() -> None:
    assert differing(None, PLAYED) == [
        "gamesPlayed",
        "totalScore",
        "lastPlayedDate",
        f"{TODAY}_games",
        f"{TODAY}_score",
    ]
    assert differing(ROW, None) == ["gamesPlayed", "totalScore", "lastPlayedDate", f"{TODAY}_games", f"{TODAY}_score"]
    assert differing(ROW._replace(total=None), PLAYED) == ["totalScore"]
    assert differing(ROW._replace(date="2026-02-01"), PLAYED) == ["lastPlayedDate"]
    assert differing(ROW._replace(windows={}), PLAYED) == [f"{TODAY}_games", f"{TODAY}_score"]
    long = Decimal(12345678901234567890123456789012345678)
    fields = compare(ROW._replace(total=long), PLAYED._replace(total=long - 1), lambda _: False)
    assert fields == (Field("totalScore", long, long - 1),)


RULES = Rules(windows=((WindowKind.DAY, 2), (WindowKind.MONTH, 1)))


def test_only_windows_that_every_open_shard_keeps_and_that_are_complete_are_compared() -> None:
    days = {WindowKind.DAY: Kind(2)}
    both = [replace(row(), windows={**days, WindowKind.MONTH: Kind(1)}), finished(1)]
    whole = compared_windows(RULES, both, CREATED)
    assert whole.left_out == ()
    assert [whole.counts(name) for name in ("day_20260131", "day_20260130", "day_20260129", "month_202601")] == [
        True,
        True,
        False,
        True,
    ]
    assert not whole.counts("week_2026W05"), "no rules keep it"
    some = compared_windows(RULES, [*both, replace(row(2), windows=days)], CREATED)
    assert some.left_out == ("month_202601",)


@pytest.mark.parametrize(
    ("since", "complete"),
    [
        (CREATED - 43_200, [False, True, True]),
        (CREATED - 43_199, [False, False, True]),
        (CREATED + 43_201, [False, False, False]),
    ],
)
def test_a_window_that_began_before_its_games_were_all_counted_is_left_out(since: float, complete: list[bool]) -> None:
    """Also one of tomorrow, in which games are dated ahead: those of the old rules did not count in it."""
    kept = {WindowKind.DAY: Kind(2, since), WindowKind.MONTH: Kind(1)}
    compared = compared_windows(RULES, [replace(row(), windows=kept)], CREATED)
    assert [compared.counts(name) for name in ("day_20260130", "day_20260131", "day_20260201")] == complete
    assert compared.counts("month_202601")


def test_a_window_that_is_about_to_expire_is_left_out() -> None:
    """A record's creation time may be a little later than the server's clock: it has dropped the window then."""
    midnight = CREATED + 86_400 - CREATED % 86_400
    rows = [replace(row(), windows={WindowKind.DAY: Kind(2), WindowKind.MONTH: Kind(1)})]
    assert compared_windows(RULES, rows, midnight - 120).counts("day_20260130")
    assert not compared_windows(RULES, rows, midnight - 30).counts("day_20260130")


# --- what cannot be proven ---

ENABLED = enabled_at(ARN) or 0.0
BORN = StreamStart(ARN, None, ("shard-0",), complete=True, started_at=ENABLED + 60)
SOURCE = TableFacts("source", ("playerId", "timestamp"), created_at=ENABLED)


def found(known: Known) -> list[tuple[CaveatCode, bool]]:
    listed: tuple[Caveat, ...] = caveats(known, compared_windows(Rules(), known.ledger.rows, CREATED))
    return [(each.code, each.blocks) for each in listed]


def test_a_board_that_began_with_its_table_can_be_proven_whole() -> None:
    known = Known(Ledger((row(),), (BORN,)), SOURCE)
    assert found(known) == []
    blocked = [(CaveatCode.BEFORE_START, True)]
    for start in (replace(BORN, start_time=ENABLED), replace(BORN, started_at=ENABLED + 86_400)):
        assert found(replace(known, ledger=Ledger((row(),), (start,)))) == blocked
        assumed = {Assumption.EMPTY_START}
        assert found(replace(known, ledger=Ledger((row(),), (start,)), assumed=assumed)) == []
    for source in (replace(SOURCE, created_at=None), replace(SOURCE, created_at=ENABLED - 60)):
        assert found(replace(known, source=source)) == blocked


def test_ignored_corrections_block_until_an_operator_says_that_there_were_none() -> None:
    rows = (row(checkpoint=SHARD_END, ignored=True), row(1))
    known = Known(Ledger(rows, (BORN,)), SOURCE)
    assert found(known) == [(CaveatCode.CORRECTIONS_IGNORED, True)]
    assert found(replace(known, assumed={Assumption.NO_CORRECTIONS})) == []


def test_gaps_and_several_rules_are_said() -> None:
    gap = Gap(ARN, "shard-0", "1", None, "possible", "")
    rules = AcceptedRules((Rules(), Rules(score_attribute="points")))
    known = Known(Ledger((row(),), (BORN,), rules), SOURCE, (gap,))
    assert found(known) == [(CaveatCode.GAPS, False), (CaveatCode.RULES_CHANGED, False)]
    windows_only = AcceptedRules((Rules(), Rules(windows=((WindowKind.DAY, 1),))))
    assert found(replace(known, ledger=Ledger((row(),), (BORN,), windows_only), gaps=())) == []


def test_exit_codes() -> None:
    assert [verdict.exit_code for verdict in Verdict] == [0, 8, 9]
