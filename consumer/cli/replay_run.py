"""Runs planned replays for a person: says what will happen, asks, shows how far it is, and tells what came of it."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.cli.confirm import confirm
from consumer.cli.deltas import print_deltas
from consumer.cli.document import document, print_array
from consumer.cli.progress import gauged, watched
from consumer.cli.replay_words import before, gauge, reading, spread, summary
from consumer.cli.text import many, visible
from consumer.domain.leaderboard import Delta
from consumer.domain.quarantine import Head
from consumer.domain.replay import Batch, Mode, Progress
from consumer.operations.redrive import NO_REPAIR, Applied, Faster, Result, Stayed
from consumer.operations.replay.leftovers import Leftovers
from consumer.operations.replay.plan import refuse_overtaken
from consumer.operations.replay.recount import Recount
from consumer.operations.ward import fold_in

if TYPE_CHECKING:
    from consumer.operations.replay.desk import Desk, Planned, Plans
    from consumer.operations.replay.foresight import Foresight
    from consumer.operations.replay.reader import Reader


@dataclass(frozen=True)
class Show:
    """How it is told. `children`: of several shards, so that --json is an array."""

    target: str
    yes: bool
    json: bool
    children: bool


def run(desk: "Desk", plans: "Plans", show: Show) -> int:
    """Replays them one after the other; the exit code."""
    _tell_left(plans)
    machines = [_ready(desk, planned) for planned in plans.planned]
    what = "Count it" if plans.planned[0].order.wish.mode is Mode.PENDING else "Count all of it again"
    if any(isinstance(machine, Recount) or machine.waiting for machine in machines):
        confirm(f"{what} in {show.target}?", yes=show.yes)
    if show.children:
        for machine in machines:  # all of them: what is begun and not finished is found again after an interruption
            desk.begin(machine)
    told = []
    missed = 0
    for machine in machines:
        counts = _recount(desk, machine) if isinstance(machine, Recount) else _count_leftovers(desk, machine)
        if machine.overtaken is not None:
            refuse_overtaken(machine.overtaken)
        told.append((machine.progress, counts))
        missed += machine.progress.skipped + counts.total()
    _print(told, show)
    return 4 if missed else 0


def foresee(desk: "Desk", plans: "Plans", show: Show) -> int:
    """Prints what each player would get; the exit code."""
    _tell_left(plans)
    deltas: dict[str, Delta] = {}
    missed = Counter[str]()
    games = 0
    for planned in plans.planned:
        tell(before(planned))
        if planned.order.wish.mode is Mode.PENDING:
            games += _foresee_leftovers(desk, planned, deltas, missed)
        else:
            games += _foresee_recount(desk, planned, deltas, missed)
    print_deltas(dict(sorted(deltas.items())), json=show.json)
    print(f"{many(games, 'game')} would be counted in {show.target}{spread(missed)}", file=sys.stderr)
    return 4 if missed else 0


def tell(sentences: Iterator[str]) -> None:
    """On stderr."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)


def _tell_left(plans: "Plans") -> None:
    for order in plans.left:
        print(f"Shard {order.shard} was replayed already: it is left alone.", file=sys.stderr)


def _ready(desk: "Desk", planned: "Planned") -> Recount | Leftovers:
    """The machine, when all has been said that must be said before it starts."""
    tell(before(planned))
    if planned.order.wish.mode is Mode.PENDING:
        heads = desk.pending(planned)
        print(f"{many(len(heads), 'quarantined record')} of the range wait there.", file=sys.stderr)
        return desk.leftovers(planned, heads)
    reader = desk.scout(planned)
    tell(reading(planned, reader))
    return desk.recount(planned, reader)


def _recount(desk: "Desk", machine: Recount) -> Counter[str]:
    missed = Counter[str]()
    first, trimmed = machine.reader.first_found, machine.reader.trimmed
    steps = _slowly(desk.steps(machine), machine.reader)
    for batch in gauged(steps, lambda: gauge(machine.progress, first), lambda: summary(machine.progress)):
        _tell_skipped(batch.skipped, missed)
    if machine.reader.trimmed and not trimmed:
        missed["trimmed meanwhile"] += 1
        print("A part of the range may have been trimmed while it ran: what is gone is not counted.", file=sys.stderr)
    return missed


def _slowly(steps: Iterator[Batch], reader: "Reader") -> Iterator[Batch]:
    """The steps; the first throttle is told."""
    told = False
    for step in steps:
        yield step
        if reader.throttles and not told:
            told = True
            print("The stream is throttled: another reader is there too. It reads more slowly now.", file=sys.stderr)


def _tell_skipped(skipped: Mapping[str, str], missed: Counter[str]) -> None:
    for number, why in skipped.items():
        missed[why.partition(":")[0]] += 1
        print(f"not counted: {number}: {visible(why)}", file=sys.stderr)


def _count_leftovers(desk: "Desk", machine: Leftovers) -> Counter[str]:
    missed = Counter[str]()
    results: Iterator[Result] = desk.steps(machine)
    for result in watched(results, machine.waiting, "counting"):
        _tell_result(result, missed)
    return missed


def _tell_result(result: Result, missed: Counter[str]) -> None:
    match result:
        case Applied():
            pass
        case Stayed(head, code, detail):
            missed[code] += 1
            print(f"still poison: {head}: {code}: {visible(detail)}", file=sys.stderr)
        case Faster(head):
            missed["taken by others"] += 1
            print(f"not pending any more: {head}", file=sys.stderr)


def _foresee_recount(desk: "Desk", planned: "Planned", deltas: dict[str, Delta], missed: Counter[str]) -> int:
    reader = desk.scout(planned)
    tell(reading(planned, reader))
    machine: Foresight = desk.foresee(planned, reader, deltas)
    for _ in watched(desk.steps(machine), 0, "reading"):
        pass
    _tell_skipped(machine.skipped, missed)
    return machine.games


def _foresee_leftovers(desk: "Desk", planned: "Planned", deltas: dict[str, Delta], missed: Counter[str]) -> int:
    heads: list[Head] = desk.pending(planned)
    games = 0
    for seen in watched((desk.ward.foresee(head, NO_REPAIR) for head in heads), len(heads), "looking"):
        if isinstance(seen, Stayed):
            _tell_result(seen, missed)
        else:
            games += 1
            fold_in(deltas, seen)
    return games


def _print(told: list[tuple[Progress, Counter[str]]], show: Show) -> None:
    if show.json:
        rows = [_row(progress, missed) for progress, missed in told]
        if show.children:
            print_array(rows)
        else:
            print(document(rows[0]))
        return
    for progress, missed in told:
        print(f"{many(progress.games, 'game')} of shard {progress.shard} counted in {show.target}{spread(missed)}")


def _row(progress: Progress, missed: Counter[str]) -> dict[str, object]:
    """Keys as in the progress row."""
    return {
        "shardId": progress.shard.shard_id,
        "streamArn": progress.shard.stream_arn,
        "leaderboardTable": progress.target,
        "mode": progress.mode.value,
        "from": progress.range.first,
        "to": progress.range.last,
        "games": progress.games,
        "skipped": progress.skipped,
        "notCounted": dict(sorted(missed.items())),
    }
