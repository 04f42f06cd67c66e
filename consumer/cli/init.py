"""`consumer init`: the tables."""

from consumer.cli.flags import LOGS, TABLES, with_settings
from consumer.settings import Settings


@with_settings(*TABLES, *LOGS)
def init(settings: Settings) -> int:
    """Makes the leaderboard, lease and quarantine tables that do not exist yet, and waits until they are active.

    Run it as often as you like. A table of that name with another key is refused.

    \b
    Example:
      consumer init --leaderboard-table Leaderboards
    """
    from consumer.bootstrap import init as init_tables

    for report in init_tables(settings):
        word = "created" if report.created else "exists"
        print(f"{word:<8} {report.name}" + (f"  ({report.note})" if report.note else ""))
    return 0
