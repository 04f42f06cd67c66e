"""By which rules records are read: a worker by its settings, an operator's command as the lease table has accepted."""

import sys

from consumer.domain.accepted_rules import AcceptedRules, differences
from consumer.domain.records import Corrections, Rules
from consumer.domain.timestamps import TimestampFormat
from consumer.settings import Settings


def rules_of(settings: Settings) -> Rules:
    """What makes a record a game."""
    return Rules(
        player_attribute=settings.player_attribute,
        score_attribute=settings.score_attribute,
        timestamp_attribute=settings.timestamp_attribute,
        timestamp_format=TimestampFormat(settings.timestamp_format),
        max_future_seconds=settings.max_future_seconds,
        windows=settings.windows,
        time_zone=settings.time_zone,
        corrections=Corrections(settings.corrections),
    )


def accepted_or_given(accepted: AcceptedRules, settings: Settings) -> Rules:
    """The rules of a command: the accepted ones; where there are none yet, those of its settings.

    A line on stderr names the settings that say otherwise.
    """
    rules, given = accepted.for_operators, rules_of(settings)
    if rules is None:
        return given
    others = [each for each in differences(given, rules) if each.field in settings.given]
    if others:
        named = ", ".join(f"{each.variable} is {each.before!r} here and {each.after!r} there" for each in others)
        sentence = f"Records are read by the accepted rules {len(accepted.entries)}: {named}."
        print(sentence, file=sys.stderr)  # noqa: T201  it must be seen before the command asks
    return rules
