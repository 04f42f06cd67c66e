"""Operators' commands read records by the accepted rules, whatever their own settings say."""

from collections.abc import Mapping

import pytest

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.records import Rules
from consumer.domain.timestamps import TimestampFormat
from consumer.domain.windows import Kept, WindowKind
from consumer.settings import load
from consumer.wiring.rules import accepted_or_given

DAY, WEEK, MONTH = WindowKind
SEVEN: Kept = ((DAY, 7),)
NEWEST: Kept = ((DAY, 2), (MONTH, 2))


def read_by(
    monkeypatch: pytest.MonkeyPatch, accepted: tuple[Rules, ...], variables: Mapping[str, str] | None = None
) -> Rules:
    for name, value in (variables or {}).items():
        monkeypatch.setenv(f"CONSUMER_{name}", value)
    return accepted_or_given(AcceptedRules(accepted), load({}, needs=()))


def test_they_read_by_the_rules_that_were_accepted_last(monkeypatch: pytest.MonkeyPatch) -> None:
    newest = Rules(score_attribute="points", timestamp_format=TimestampFormat.EPOCH_SECONDS)
    assert read_by(monkeypatch, (Rules(), newest)) == newest


def test_they_count_in_the_widest_windows_of_all_accepted_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record may be from a time when more were kept. What has expired by now goes with the row's next write."""
    rules = (Rules(windows=SEVEN), Rules(windows=((WEEK, 1),)), Rules(score_attribute="points", windows=NEWEST))
    assert read_by(monkeypatch, rules) == Rules(score_attribute="points", windows=((DAY, 7), (WEEK, 1), (MONTH, 2)))


def test_a_setting_that_says_otherwise_is_named_and_has_no_effect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = {"SCORE_ATTRIBUTE": "points", "PLAYER_ATTRIBUTE": "playerId"}
    assert read_by(monkeypatch, (Rules(), Rules(timestamp_attribute="at")), variables).score_attribute == "score"
    assert capsys.readouterr() == (
        "",
        "Records are read by the accepted rules 2: CONSUMER_SCORE_ATTRIBUTE is 'points' here and 'score' there.\n",
    )


def test_settings_that_were_not_given_say_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_by(monkeypatch, (Rules("player", "points", "at"),)) == Rules("player", "points", "at")
    assert capsys.readouterr() == ("", "")


def test_before_any_rules_are_accepted_the_settings_decide(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the tables of version 0.1, before the first worker of this one."""
    assert read_by(monkeypatch, (), {"SCORE_ATTRIBUTE": "points"}) == Rules(score_attribute="points")
    assert capsys.readouterr() == ("", "")
