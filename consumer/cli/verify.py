"""`consumer verify`: whether the board says what the games say."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from consumer.cli.app import LOGS, RULES, TABLES, Number, json_object, positive, with_settings
from consumer.cli.output import print_all, print_columns, sharing, to_json, visible
from consumer.domain.errors import UsageFault
from consumer.domain.text import many
from consumer.domain.verification import Assumption, Field, Verdict, corrects
from consumer.operations.game_fold import GameLine
from consumer.operations.verify import Findings, Preview
from consumer.settings import Settings

SHOWN: Final = 20
"""Players who are named; --json has all."""


@click.command()
@json_object
@click.option("--player", metavar="PLAYER", help="Only this player, game by game.")
@positive("--sample", help="Only so many players, chosen by chance from the rows of the board.")
@click.option(
    "--timeout",
    type=Number(float, 1, "a number of seconds"),
    metavar="SECONDS",
    default=900.0,
    help="After so long the rest is undecided.",
)
@click.option(
    "--max-read-units",
    type=Number(float, 1, "a number of read units"),
    metavar="UNITS",
    help="Read no more units per second.",
)
@click.option(
    "--assume",
    "assumed",
    multiple=True,
    type=click.Choice([each.value for each in Assumption]),
    help="What you know where the tables cannot show it: no item was there before the board began; none was ever "
    "changed or removed, where that is ignored.",
)
@click.option("--temp-dir", metavar="FOLDER", help="Where sums go that do not fit into memory.")
@with_settings("source_table", *TABLES, *RULES, *LOGS)
def verify(settings: Settings, *, json: bool, **options: Any) -> int:
    """Proves the board: reads all games and all rows, and compares them player by player. It writes nothing.

    Works while games are written. A player is judged when every shard has passed the moment at which the games were
    read and the row stayed as it was. What cannot be proven on this board is said first.

    \b
    Example:
      consumer verify --source-table GameEvents --max-read-units 500

    \b
    Exit codes:
      0  equal: every player            8  different: some players
      2  wrong flags or settings        9  undecided: a worker stands still, a
      3  AWS refuses or is not there       table is throttled, or it cannot
      4  tables do not belong together     be proven on this board
      130  stopped: nothing is decided
    """
    try:
        return _verify(settings, json=json, **options)
    except KeyboardInterrupt:
        print("Stopped: nothing is decided. Nothing was written.", file=sys.stderr)
        return 130


def _verify(
    settings: Settings,
    *,
    json: bool,
    player: str | None,
    sample: int | None,
    timeout: float,
    max_read_units: float | None,
    assumed: tuple[str, ...],
    temp_dir: str | None,
) -> int:
    if player is not None and sample is not None:
        raise UsageFault("--player names one player, and --sample chooses some: leave out one of them")
    from consumer.wiring.verify import verification

    with verification(
        settings,
        timeout_seconds=timeout,
        max_read_units=max_read_units,
        assumed=[Assumption(each) for each in assumed],
        temp_dir=temp_dir,
    ) as verifier:
        if settings.log_format != "json":
            print_all(before_reading(verifier.preview))
        with _progress() as report:
            found = verifier.run(player, sample, report)
        if json:
            print(to_json(findings_fields(found, verifier.sums.differences(), verifier.lines())))
        else:
            _print(found, verifier.sums.differences(), verifier.lines())
    if settings.log_format == "json":
        _log(found)
    return found.verdict.exit_code


def _log(found: Findings) -> None:
    """One line for an alarm on the log."""
    import structlog

    log = structlog.get_logger()
    log.info(
        "verify.finished",
        verdict=found.verdict.value,
        players=found.players,
        equal=found.equal,
        different=found.different,
        undecided=found.undecided,
        attempts=found.attempts,
        items=found.items,
        read_units=found.read_units,
        not_proven=[caveat.code.value for caveat in found.caveats],
    )


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar that shows how much is read of what there is about."""
    now: dict[str, Any] = {"what": "games", "done": 0, "total": 0}

    def title() -> str:
        return "waiting for the shards" if now["what"] == "waiting" else f"reading {now['what']}: {now['done']:,}"

    def share() -> float | None:
        return min(1.0, now["done"] / now["total"]) if now["total"] else None

    with sharing(share, title) as update:

        def report(what: str, done: int, total: int) -> None:
            now.update(what=what, done=done, total=total)
            update()

        yield report


def before_reading(preview: Preview) -> Iterator[str]:
    """What can be proven, and what it costs."""
    if preview.caveats:
        yield from (f"Not proven here: {caveat.sentence}." for caveat in preview.caveats)
    elif corrects(preview.rules[-1]):
        yield "The whole board can be proven: every game, change and removal is in its stream, and nothing was lost."
    else:
        yield "The whole board can be proven: every game is in its stream, and nothing was corrected or lost."
    yield (
        f"Reading {many(preview.source.items, 'item')} and {many(preview.board.items, 'row')}, as DynamoDB counted "
        f"them last: about {many(preview.read_units, 'read unit')}."
    )


def _print(found: Findings, differences: Iterator[tuple[str, tuple[Field, ...]]], lines: list[GameLine] | None) -> None:
    if lines is not None:
        print_columns(("game", "state", "score", "windows"), map(_cells, lines), right=("score",))
    print(sentence(found))
    for why in found.why:
        print(f"  {visible(why)}")
    for number, (player, fields) in enumerate(differences):
        if number == SHOWN:
            print(f"  ... {found.different - SHOWN:,} more: --json has all")
            break
        print(f"  {visible(player)}: {'; '.join(map(_field, fields))}")


def _cells(line: GameLine) -> tuple[str | None, ...]:
    score = None if line.counts is None else f"{line.counts.total:f}"
    windows = None if line.counts is None else " ".join(window.window for window in line.counts.windows)
    return to_json(line.item), line.state, score, windows or None


def _field(field: Field) -> str:
    return f"{field.name} is {_shown(field.board)}, the games say {_shown(field.games)}"


def _shown(value: object) -> str:
    return "missing" if value is None else to_json(value).strip('"')


def sentence(found: Findings) -> str:
    """The verdict."""
    counts = f"{many(found.players, 'player')}: {found.equal:,} equal, {found.different:,} different"
    counts += f", {found.undecided:,} undecided"
    match found.verdict:
        case Verdict.EQUAL:
            return f"Equal: the board says what the games say ({counts})."
        case Verdict.DIFFERENT:
            return f"Different: the board is wrong ({counts})."
        case _:
            return f"Undecided ({counts})."


def findings_fields(
    found: Findings, differences: Iterator[tuple[str, tuple[Field, ...]]], lines: list[GameLine] | None = None
) -> dict[str, object]:
    """The result as JSON."""
    document: dict[str, object] = {
        "verdict": found.verdict.value,
        "players": found.players,
        "equal": found.equal,
        "different": found.different,
        "undecided": found.undecided,
        "asOf": found.at,
        "attempts": found.attempts,
        "items": found.items,
        "readUnits": found.read_units,
        "why": list(found.why),
        "notProven": [
            {"code": caveat.code.value, "blocks": caveat.blocks, "sentence": caveat.sentence}
            for caveat in found.caveats
        ],
        "differences": [
            {
                "playerId": player,
                "fields": [{"field": name, "board": board, "games": games} for name, board, games in fields],
            }
            for player, fields in differences
        ],
    }
    if lines is not None:
        document["games"] = [_line_fields(line) for line in lines]
    return document


def _line_fields(line: GameLine) -> dict[str, object]:
    counts = line.counts
    return {
        "item": line.item,
        "state": line.state,
        "why": line.why,
        "playerScore": None if counts is None else counts.total,
        "date": None if counts is None else counts.date,
        "windows": [] if counts is None else [window.window for window in counts.windows],
    }
