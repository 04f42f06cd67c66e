"""What `init --accept-rules` accepts, refuses and appends."""

from dataclasses import replace

import pytest

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import Ledger, StreamStart
from consumer.domain.records import Corrections, Rules
from consumer.domain.timestamps import TimestampFormat
from consumer.domain.windows import WindowKind
from consumer.operations.accept_rules import Acceptance, carry_out, plan
from tests.support.builders import ARN, CREATED
from tests.support.commands import finish
from tests.support.fakes import FakeTables
from tests.support.fakes.operators import FakeRuleList

DAYS = ((WindowKind.DAY, 2),)
OLD = Rules()
NEW = Rules(windows=DAYS, timestamp_format=TimestampFormat.EPOCH_SECONDS)
START = StreamStart(ARN, None, (), complete=True)


def ledger(*entries: Rules) -> Ledger:
    return Ledger((), (START,), AcceptedRules(entries))


def planned(before: Ledger, rules: Rules) -> Acceptance:
    made = plan(before, rules, "GameEvents")
    assert isinstance(made, Acceptance)
    return made


def test_new_rules_get_the_next_number_and_show_each_difference() -> None:
    made = planned(ledger(OLD), NEW)
    assert made.number == 2
    said = "\n".join(made.sentences)
    assert "CONSUMER_TIMESTAMP_FORMAT: iso -> epoch_seconds" in said
    assert "CONSUMER_WINDOWS: empty -> day:2" in said
    assert "CONSUMER_SCORE_ATTRIBUTE" not in said
    assert "These rules get number 2. " in said


def test_older_rules_may_be_accepted_again_and_it_says_so() -> None:
    made = planned(ledger(OLD, NEW), OLD)
    assert (made.number, made.before) == (3, AcceptedRules((OLD, NEW)))
    assert "number 3; they were accepted before, as number 1." in "\n".join(made.sentences)


def test_the_newest_rules_again_are_nothing_to_do() -> None:
    assert plan(ledger(OLD, NEW), NEW, None) == "There is nothing to do: these rules are the newest, with number 2."


def test_before_a_worker_of_this_version_has_started_there_is_nothing_to_accept() -> None:
    said = plan(ledger(), NEW, "GameEvents")
    assert isinstance(said, str)
    assert "The first worker of this version that starts records its own" in said


@pytest.mark.parametrize(
    ("rules", "source", "variable", "accepted"),
    [
        (OLD, "Others", "CONSUMER_SOURCE_TABLE is Others", "GameEvents"),
        (replace(NEW, player_attribute="user"), None, "CONSUMER_PLAYER_ATTRIBUTE is user", "playerId"),
        (replace(NEW, time_zone="Europe/Berlin"), None, "CONSUMER_TIME_ZONE is Europe/Berlin", "UTC"),
    ],
)
def test_what_needs_a_new_board_is_refused(rules: Rules, source: str | None, variable: str, accepted: str) -> None:
    with pytest.raises(UnsafeRefused) as refused:
        plan(ledger(OLD, NEW), rules, source)
    said = str(refused.value)
    assert f"{variable}, accepted is {accepted}: " in said
    assert "Nothing was changed. Next: correct CONSUMER_" in said, "the harmless cure first"
    assert "CONSUMER_LEADERBOARD_TABLE" in said
    assert refused.value.exit_code == 4


APPLY = replace(OLD, corrections=Corrections.APPLY)


@pytest.mark.parametrize(("before", "after"), [(OLD, APPLY), (APPLY, OLD)])
def test_corrections_are_chosen_once(before: Rules, after: Rules) -> None:
    with pytest.raises(UnsafeRefused) as refused:
        plan(ledger(before), after, None)
    said = str(refused.value)
    assert f"CONSUMER_CORRECTIONS is {after.corrections}, accepted is {before.corrections}: " in said
    assert "CONSUMER_LEADERBOARD_TABLE" in said
    assert refused.value.exit_code == 4


@pytest.mark.parametrize(
    ("rules", "variable"),
    [
        (replace(APPLY, player_attribute="user"), "CONSUMER_PLAYER_ATTRIBUTE"),
        (replace(APPLY, score_attribute="points"), "CONSUMER_SCORE_ATTRIBUTE"),
        (replace(APPLY, timestamp_attribute="at"), "CONSUMER_TIMESTAMP_ATTRIBUTE"),
        (replace(APPLY, timestamp_format=TimestampFormat.EPOCH_SECONDS), "CONSUMER_TIMESTAMP_FORMAT"),
        (replace(APPLY, max_future_seconds=60), "CONSUMER_MAX_FUTURE_SECONDS"),
    ],
)
def test_where_corrections_count_what_was_counted_must_stay_a_game(rules: Rules, variable: str) -> None:
    """Else its old image would be no game by the new rules: a change would count it a second time."""
    with pytest.raises(UnsafeRefused, match=f"{variable} is ") as refused:
        plan(ledger(APPLY), rules, None)
    assert "A board that is counted otherwise needs new, empty" in str(refused.value)


def test_where_corrections_count_games_may_be_dated_further_ahead_and_not_less_far_again() -> None:
    further = replace(APPLY, max_future_seconds=172_800)
    assert planned(ledger(APPLY), further).number == 2
    with pytest.raises(UnsafeRefused, match="CONSUMER_MAX_FUTURE_SECONDS is 86400, accepted is 172800"):
        plan(ledger(APPLY, further), APPLY, None)


def test_where_corrections_count_windows_may_change() -> None:
    assert planned(ledger(APPLY), replace(APPLY, windows=DAYS)).number == 2


def test_a_board_without_windows_may_choose_their_zone_and_keeps_it() -> None:
    """Also over a time without windows: a row may still have windows of before."""
    berlin = replace(OLD, windows=DAYS, time_zone="Europe/Berlin")
    assert planned(ledger(OLD), berlin).number == 2
    assert planned(ledger(OLD, berlin), OLD).number == 3
    assert planned(ledger(OLD, berlin, OLD), berlin).number == 4
    with pytest.raises(UnsafeRefused):
        plan(ledger(OLD, berlin, OLD), NEW, None)


def test_what_is_accepted_is_appended_with_an_audit_entry() -> None:
    tables = FakeTables()
    tables.accepted = AcceptedRules((OLD,))
    rule_list = FakeRuleList(tables)
    finish(carry_out(planned(ledger(OLD), NEW), rule_list, "foo@host", CREATED))
    assert tables.accepted == AcceptedRules((OLD, NEW))
    (entry,) = rule_list.trail
    assert (entry.who, entry.action, entry.target) == ("foo@host", "init --accept-rules", "rules")
    assert entry.detail == {
        "number": "2",
        "differences": "CONSUMER_TIMESTAMP_FORMAT: iso -> epoch_seconds; CONSUMER_WINDOWS: empty -> day:2",
    }


def test_of_two_operators_who_saw_the_same_list_the_second_is_refused() -> None:
    tables = FakeTables()
    tables.accepted = AcceptedRules((OLD,))
    rule_list = FakeRuleList(tables)
    first, second = planned(ledger(OLD), NEW), planned(ledger(OLD), replace(OLD, score_attribute="points"))
    finish(carry_out(first, rule_list, "foo", CREATED))
    with pytest.raises(UnsafeRefused, match="changed concurrently"):
        finish(carry_out(second, rule_list, "bar", CREATED))
    assert tables.accepted == AcceptedRules((OLD, NEW))
    assert [entry.who for entry in rule_list.trail] == ["foo"]
