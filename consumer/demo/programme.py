"""The demonstration from the first line to the last: what is said before, after, and when it fails."""

from typing import Final

from consumer.demo.server import ServerError
from consumer.demo.show import many, open_show
from consumer.demo.stage import DemoFailed, Stage
from consumer.domain.errors import Trouble

SHOWN_DIFFERENCES: Final = 5
NEXT: Final = (
    ("consumer demo --games 100000", "the same, for longer"),
    ("consumer run --help", "every setting and its default"),
    ("consumer init", "the tables, in your own AWS account"),
    ("consumer run --source-table NAME", "a leaderboard of your table's stream"),
)


def perform(games: int, players: int) -> int:
    """See consumer.demo.play."""
    with open_show() as show:
        try:
            with Stage(show, games, players) as stage:
                differences = stage.play()
        except ServerError as error:
            raise DemoFailed(f"the embedded engine cannot be had: {error}") from error
        except Trouble as trouble:
            raise DemoFailed(f"the embedded engine does not do what it should: {trouble.detail}") from trouble
        except KeyboardInterrupt:
            show.tell("stop", "interrupted; nothing is left running")
            raise
        if differences:
            more = len(differences) - SHOWN_DIFFERENCES
            lines = [many(len(differences), "difference"), *differences[:SHOWN_DIFFERENCES]]
            show.end("NOT EXACT", [*lines, f"... and {more:,} more"] if more > 0 else lines, good=False)
            return 1
        show.end("EXACT", stage.summary(), good=True)
        show.advise("What to try next", NEXT)
    return 0
