"""`consumer quarantine redrive`: count what was quarantined, once."""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.choose import spread
from consumer.cli.confirm import DryRun, Yes, confirm
from consumer.cli.deltas import print_deltas
from consumer.cli.document import JsonDocument, document
from consumer.cli.flags import LOGS, TABLES, with_settings
from consumer.cli.progress import watched
from consumer.cli.target import Target, telling_how_far, with_target
from consumer.cli.text import many, visible
from consumer.domain.errors import UnsafeRefused
from consumer.domain.quarantine import Head
from consumer.domain.records import Game
from consumer.domain.repairs import parse_repairs
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.redrive import Repair, Result
    from consumer.operations.ward import Ward


@with_settings(*TABLES, "player_attribute", "score_attribute", "timestamp_attribute", "max_future_seconds", *LOGS)
@with_target("reason")
def redrive(
    settings: Settings,
    target: Target,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Repair player, score or timestamp; can be repeated."),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: JsonDocument = False,
) -> int:
    """Counts pending records, each once: one by SHARD SEQ, or all that match the filters.

    A record is decoded again, by the settings of now. One that is still poison stays pending, and why is told. Its
    delta, its new state and the audit row are one transaction, so that two operators, a kill or a lost answer never
    count it twice; run it again after an interruption. With --set, of many records only those are changed whose field
    is what is wrong; the record that is kept in quarantine stays as it came.

    \b
    Example:
      consumer quarantine redrive --reason score_type --set score=12 --dry-run

    \b
    Exit codes:
      0  all were counted       4  some stayed pending, or were not pending any more
    """
    values = parse_repairs(set_ or [])
    from consumer.bootstrap.quarantine import ward
    from consumer.operations.redrive import Repair

    with ward(settings, acting=True) as open_ward:
        heads = target.heads(open_ward, settings, "redriven")
        repair = Repair(values, only_wrong=target.one is None)
        if dry_run:
            return _foresee(open_ward, heads, repair, json=json)
        if heads:
            repairs = f", with {', '.join(f'{field}={value}' for field, value in values.items())}" if values else ""
            confirm(f"Count {spread(heads)} in {settings.leaderboard_table}{repairs}?", yes=yes)
        return _redrive(open_ward, heads, repair, one=target.one is not None, json=json)


def _redrive(ward: "Ward", heads: list[Head], repair: "Repair", *, one: bool, json: bool) -> int:
    from consumer.operations.redrive import Applied, Faster, Stayed
    from consumer.operations.ward import require_pending

    applied, faster, stayed = 0, 0, Counter[str]()
    last: Result | None = None

    def how_far() -> str:
        left = len(heads) - applied - faster - stayed.total()
        return f"{applied:,} counted, {left:,} of {many(len(heads), 'record')}"

    with telling_how_far(how_far):
        for last in watched((ward.redrive(head, repair) for head in heads), len(heads), "redriving"):
            match last:
                case Applied():
                    applied += 1
                case Stayed(head, code, detail):
                    stayed[code] += 1
                    print(f"still poison: {head}: {code}: {visible(detail)}", file=sys.stderr)
                case Faster():
                    faster += 1
    if one and isinstance(last, Faster):
        require_pending(last.now, "somebody was faster")
        raise UnsafeRefused("somebody was faster")
    if json:
        print(document({"applied": applied, "stillPoison": dict(sorted(stayed.items())), "takenByOthers": faster}))
    else:
        print(f"{many(applied, 'record')} counted" + _rest(stayed, faster))
    return 4 if stayed or faster else 0


def _foresee(ward: "Ward", heads: list[Head], repair: "Repair", *, json: bool) -> int:
    from consumer.operations.redrive import Stayed
    from consumer.operations.ward import folded

    games: list[Game] = []
    stayed = Counter[str]()
    for seen in watched((ward.foresee(head, repair) for head in heads), len(heads), "looking"):
        if isinstance(seen, Stayed):
            stayed[seen.reason] += 1
            print(f"would stay: {seen.head}: {seen.reason}: {visible(seen.detail)}", file=sys.stderr)
        else:
            games.append(seen)
    rows = folded(games)
    print_deltas(rows, json=json)
    if not json:
        print(f"{many(len(games), 'record')} would be counted" + _rest(stayed, 0), file=sys.stderr)
    return 4 if stayed else 0


def _rest(stayed: Counter[str], faster: int) -> str:
    words = ""
    if stayed:
        words += (
            f"; {stayed.total():,} still poison ({', '.join(f'{code} {n:,}' for code, n in sorted(stayed.items()))})"
        )
    if faster:
        words += f"; {faster:,} not pending any more: somebody was faster"
    return words
