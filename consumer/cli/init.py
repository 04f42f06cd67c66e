"""`consumer init`: the tables, and the way on when they do not belong together."""

import sys
from typing import Annotated

import typer

from consumer.cli.confirm import Yes, confirm
from consumer.cli.flags import LOGS, TABLES, with_settings
from consumer.settings import Settings

Adopt = Annotated[
    bool, typer.Option("--adopt", help="Make tables belong together that `run` refuses; asks first, makes no table.")
]


@with_settings(*TABLES, *LOGS)
def init(settings: Settings, adopt: Adopt = False, yes: Yes = False) -> int:
    """Makes the leaderboard, lease and quarantine tables that do not exist yet, and waits until they are active.

    Run it as often as you like. A table of that name with another key is refused. With --adopt: when `run` refuses
    because lease, leaderboard and quarantine table do not match, says what would be counted again or missing, asks, and
    writes down that they belong together from now on. Stop all workers first.

    \b
    Example:
      consumer init --leaderboard-table Leaderboards
    """
    from consumer.bootstrap.tables import init as init_tables

    if adopt:
        return _adopt(settings, yes=yes)
    for report in init_tables(settings):
        word = "created" if report.created else "exists"
        print(f"{word:<8} {report.name}" + (f"  ({report.note})" if report.note else ""))
    return 0


def _adopt(settings: Settings, *, yes: bool) -> int:
    from consumer.bootstrap.tables import adopt as adopt_tables

    def agree(sentences: tuple[str, ...]) -> None:
        for sentence in sentences:
            print(sentence, file=sys.stderr)
        confirm("Are these the right tables, and shall they be adopted?", yes=yes)

    adopted = adopt_tables(settings, agree)
    for stream_arn in adopted:
        print(f"adopted  {stream_arn}")
    if not adopted:
        print("There is nothing to adopt: the tables belong together.")
    return 0
