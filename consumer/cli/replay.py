"""`consumer replay`: counts a range of a shard again, or what of it is not counted yet."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from consumer.cli.app import (
    LOGS,
    RETENTION,
    RULES,
    TABLES,
    dry_run,
    json_document,
    shard_argument,
    switch,
    with_settings,
    yes,
)
from consumer.cli.output import (
    confirm,
    counting,
    print_all,
    print_array,
    print_deltas,
    sharing,
    to_json,
    visible,
    with_count,
)
from consumer.domain.errors import UsageFault
from consumer.domain.fold import Delta
from consumer.domain.leases import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import LATEST, Batch, Mode, Progress
from consumer.domain.text import breakdown, many
from consumer.operations.quarantine import NO_REPAIR, ChangedConcurrently, Result, StillPoison, add_all
from consumer.operations.replay import PendingReplay, Recount
from consumer.operations.replay_plan import ReplayRequest, refuse_overtaken
from consumer.settings import TABLE, TABLE_PATTERN, Settings, flag, variable

if TYPE_CHECKING:
    from consumer.operations.replay import ReplayService
    from consumer.operations.replay_plan import PlannedReplay, Plans, Reader
    from consumer.wiring.operators import Session

Missed = Counter[str]
"""How many records were not counted, by the reason."""


@click.command()
@shard_argument
@click.option("--from", "first", required=True, metavar="SEQ|TRIM_HORIZON", help="The first record.")
@click.option(
    "--to", "last", default=LATEST, metavar="SEQ|LATEST", help="The last one; LATEST: the shard's current checkpoint."
)
@switch("--recount", help="Count again all of the range that counts.")
@click.option("--into", metavar="TABLE", help="Count all of it into another leaderboard table.")
@dry_run
@switch("--children", help="The shard to its end, then its children and theirs.")
@switch("--again", help="Also what was counted again before; gives up an interrupted replay.")
@yes
@json_document
@with_settings(*TABLES, RETENTION, *LOGS, without_flags=RULES)
def replay(
    settings: Settings,
    shard: str,
    first: str,
    last: str,
    *,
    recount: bool,
    into: str | None,
    dry_run: bool,
    children: bool,
    again: bool,
    yes: bool,
    json: bool,
) -> int:
    """Replays a range of a shard, up to its checkpoint at most.

    Without a mode it counts what is not counted yet: the range's pending quarantine records that can be counted now.
    What the worker has counted is left alone.

    --recount counts all of the range again, into a leaderboard that was reset to zero, or restored from a backup that
    was taken with all workers stopped: else games are counted twice. --into counts into another table. If a record is
    in quarantine, its row decides: applied counts as it was repaired, pending and discarded do not count.

    With CONSUMER_CORRECTIONS=apply there are neither --recount nor --into: rebuild instead, into a second board.

    It adds games whatever the marks of rows say, and leaves marks alone; its worker goes on behind the checkpoint. On
    a stream keyed by the player (`consumer status`) reset a leaderboard by deleting its rows, not by zeros. After a
    restore, `consumer checkpoint set` to a position before the backup is better: marks say what each row holds.

    It is one more reader of the shard, and DynamoDB Streams serves two; it slows down when it is throttled. After an
    interruption the same command goes on where it stopped, and nothing is counted twice.

    \b
    Example:
      consumer replay shardId-00000001769860800000-1a2b3c4d \\
        --from TRIM_HORIZON --recount --dry-run

    \b
    Exit codes:
      0  done; a dry run: shown        3  AWS refuses or is not there
      2  no range, or wrong flags      5  no such shard, or nothing of the
      4  refused, not confirmed, or       range is left in the stream
         some did not count
    """
    # In one piece: its flags and their help are most of it.
    mode, target = Mode.RECOUNT if recount or into is not None else Mode.PENDING, into or settings.leaderboard_table
    request = ReplayRequest(shard, first, last, mode, target, again, into is not None)
    _check(request, settings, children=children)
    from consumer.wiring.operators import replay_service

    try:
        with replay_service(settings, into) as (service, session):
            plans = session.run(service.plan(request, children=children, acting=not dry_run))
            output = Output(target, yes=yes, json=json, children=children)
            return (print_dry_run if dry_run else print_replay)(service, session, plans, output)
    except KeyboardInterrupt:
        rest = "nothing was changed" if dry_run else "the same command goes on from here, and counts nothing twice"
        print(f"Stopped: {rest}.", file=sys.stderr)
        return 130


def _check(request: ReplayRequest, settings: Settings, *, children: bool) -> None:
    """Raises UsageFault with every fault."""
    faults = []
    if request.into_other_table and re.fullmatch(TABLE_PATTERN, request.target) is None:
        faults.append(f"--into is {request.target[:80]!r}: {TABLE}")
    if request.into_other_table and request.target == settings.leaderboard_table:
        ways = f"{variable('leaderboard_table')}, {flag('leaderboard_table')}"
        faults.append(
            f"--into {request.target} is the configured leaderboard ({ways}): to count into it again, use --recount"
        )
    if children and request.last != LATEST:
        faults.append(
            f"--children begin where the shard ends, and --to {request.last[:80]} ends before: leave out one of them"
        )
    try:
        request.check()
    except UsageFault as fault:
        faults.append(str(fault))
    if faults:
        raise UsageFault("\n".join(faults))


def plan_notes(planned: "PlannedReplay", *, corrects: bool = False) -> Iterator[str]:
    """What the replay will do. `corrects`: changes and removals of items count, so that nothing is counted again."""
    progress, plan = planned.progress, planned.plan
    end = "its end" if progress.range.last == SHARD_END else progress.range.last
    start = "its oldest record" if progress.range.first == TRIM_HORIZON else progress.range.first
    yield f"Shard {progress.shard}, from {start} to {end}."
    if plan.capped:
        yield f"--to {plan.request.last} lies past the checkpoint: it ends with {plan.row.checkpoint}."
    if planned.resumes:
        yield f"It continues what {progress.who} began, behind {progress.position}."
    if progress.mode is Mode.PENDING:
        more = "." if corrects else "; --recount would count it again."
        yield f"What the worker has counted is left alone{more}"


def stream_notes(planned: "PlannedReplay", reader: "Reader") -> Iterator[str]:
    """What the stream still has, and what reading it costs."""
    if reader.trimmed:
        yield (
            f"Part of the range is trimmed: {reader.first_found} is the oldest record that the stream still has, and "
            "what came before is not counted."
        )
    elif planned.progress.range.first == TRIM_HORIZON and reader.first_found is not None:
        yield f"{reader.first_found} is the oldest record that the stream still has."
    yield "It is one more reader of the shard, and DynamoDB Streams serves two: it slows down when it is throttled."
    target, plan = planned.progress.target, planned.plan
    if planned.progress.mode is Mode.RECOUNT and plan.keyed and not plan.request.into_other_table:
        yield (
            f"All that counts is counted once more in {target}, whatever the marks of its rows say; the marks stay. So "
            "its rows must be deleted (one that is only set to zero keeps its mark, and misses games), or restored "
            "from a backup taken with all workers stopped. Even then a row may hold games past the checkpoint of that "
            "time, which would be counted twice: after a restore, `consumer checkpoint set` to a position before the "
            "backup is exact where the shard is not finished."
        )
    elif planned.progress.mode is Mode.RECOUNT:
        yield (
            f"All that counts is counted once more in {target}: that must be reset to zero, restored "
            "from a backup taken with all workers stopped, or new."
        )


def share_done(progress: Progress, first: str | None) -> float | None:
    """How much of the range is done, by sequence numbers, 0 to 1; None: not known."""
    if first is None or progress.position == TRIM_HORIZON or SHARD_END in (progress.range.last, progress.position):
        return None
    whole = int(progress.range.last) - int(first)
    return (int(progress.position) - int(first)) / whole if whole > 0 else 1.0


def not_counted(missed: Missed) -> str:
    """How many were not counted, and why."""
    return f"; {missed.total():,} not counted ({breakdown(missed)})" if missed else ""


@dataclass(frozen=True)
class Output:
    """Where games are counted, and how it is printed. `children`: several shards, so that --json is an array."""

    target: str
    yes: bool
    json: bool
    children: bool


def print_replay(service: "ReplayService", session: "Session", plans: "Plans", output: Output) -> int:
    """Replays the shards one after the other; the exit code."""
    _print_already_counted(plans)
    replays = [_prepare(service, session, planned) for planned in plans.planned]
    what = "Count it" if plans.planned[0].plan.request.mode is Mode.PENDING else "Count all of it again"
    if any(isinstance(replay, Recount) or replay.entries for replay in replays):
        confirm(f"{what} in {output.target}?", yes=output.yes)
    if output.children:
        for replay in replays:  # all of them: after an interruption the same command finds what is not finished
            session.run(replay.begin())
    results = []
    for replay in replays:
        missed = _recount(session, replay) if isinstance(replay, Recount) else _count_pending(session, replay)
        if replay.overtaken is not None:
            refuse_overtaken(replay.overtaken)
        results.append((replay.progress, missed))
    _print_results(results, output)
    return 4 if any(progress.skipped or missed for progress, missed in results) else 0


def _print_already_counted(plans: "Plans") -> None:
    print_all(f"Shard {plan.shard} was replayed already: it is left alone." for plan in plans.already_counted)


def _prepare(service: "ReplayService", session: "Session", planned: "PlannedReplay") -> Recount | PendingReplay:
    """A replay before its first call, after the notes on it."""
    print_all(plan_notes(planned, corrects=service.quarantine_service.corrects))
    if planned.plan.request.mode is Mode.PENDING:
        entries = session.run(service.pending(planned))
        print(f"{many(len(entries), 'quarantined record')} of the range wait there.", file=sys.stderr)
        return PendingReplay(service, planned, entries)
    reader = session.run(service.open_reader(planned))
    print_all(stream_notes(planned, reader))
    return Recount(service, planned, reader)


def _recount(session: "Session", replay: Recount) -> Missed:
    missed = Missed()
    reader = replay.reader
    first, trimmed = reader.first_found, reader.trimmed
    throttled = False

    with sharing(
        lambda: share_done(replay.progress, first),
        lambda: f"{many(replay.progress.games, 'game')} counted",
    ) as update:

        def report(batch: Batch) -> None:
            nonlocal throttled
            update()
            _print_skipped(batch.skipped, missed)
            if reader.throttles and not throttled:
                throttled = True
                print("The stream is throttled by another reader: this one reads more slowly now.", file=sys.stderr)

        session.run(replay.run(report))
    if reader.trimmed and not trimmed:
        missed["trimmed meanwhile"] += 1
        print("A part of the range may have been trimmed while it ran: that part is not counted.", file=sys.stderr)
    return missed


def _count_pending(session: "Session", replay: PendingReplay) -> Missed:
    missed = Missed()
    with counting(len(replay.entries), "counting") as count:

        def report(result: Result) -> None:
            match result:
                case StillPoison():
                    _print_still_poison(result, missed)
                case ChangedConcurrently():
                    _print_changed(result, missed)
            count(1)

        session.run(replay.run(report))
    return missed


def print_dry_run(service: "ReplayService", session: "Session", plans: "Plans", output: Output) -> int:
    """Prints what each player would get, and what would not count; the exit code, 0 for all that is shown."""
    _print_already_counted(plans)
    deltas: dict[str, Delta] = {}
    missed = Missed()
    games = 0
    for planned in plans.planned:
        print_all(plan_notes(planned, corrects=service.quarantine_service.corrects))
        if planned.plan.request.mode is Mode.PENDING:
            games += _dry_run_pending(service, session, planned, deltas, missed)
        else:
            games += _dry_run_recount(service, session, planned, deltas, missed)
    print_deltas(dict(sorted(deltas.items())), json=output.json)
    print(f"{many(games, 'game')} would be counted in {output.target}{not_counted(missed)}", file=sys.stderr)
    return 0


def _dry_run_recount(
    service: "ReplayService", session: "Session", planned: "PlannedReplay", deltas: dict[str, Delta], missed: Missed
) -> int:
    reader = session.run(service.open_reader(planned))
    print_all(stream_notes(planned, reader))
    with counting(0, "reading") as count:
        games, skipped = session.run(service.dry_run(planned, reader, deltas, count))
    _print_skipped(skipped, missed)
    return games


def _dry_run_pending(
    service: "ReplayService", session: "Session", planned: "PlannedReplay", deltas: dict[str, Delta], missed: Missed
) -> int:
    entries = session.run(service.pending(planned))
    results = service.quarantine_service.dry_run_all(entries, NO_REPAIR, session.together)
    games = 0
    for result in with_count(results, len(entries), "reading"):
        match result:
            case StillPoison():
                _print_still_poison(result, missed)
            case ChangedConcurrently():
                _print_changed(result, missed)
            case _:
                games += 1
                add_all(deltas, result.deltas)
    return games


def _print_still_poison(result: StillPoison, missed: Missed) -> None:
    missed[result.reason] += 1
    print(f"still poison: {result.entry}: {result.reason}: {visible(result.detail)}", file=sys.stderr)


def _print_changed(result: ChangedConcurrently, missed: Missed) -> None:
    missed["taken by others"] += 1
    print(f"not pending any more: {result.entry}", file=sys.stderr)


def _print_skipped(skipped: Mapping[str, str], missed: Missed) -> None:
    for number, why in skipped.items():
        missed[why.partition(":")[0]] += 1
        print(f"not counted: {number}: {visible(why)}", file=sys.stderr)


def _print_results(results: list[tuple[Progress, Missed]], output: Output) -> None:
    if output.json:
        rows = [_row(progress, missed) for progress, missed in results]
        if output.children:
            print_array(rows)
        else:
            print(to_json(rows[0]))
        return
    for progress, missed in results:
        games = f"{many(progress.games, 'game')} of shard {progress.shard}"
        print(f"{games} counted in {output.target}{not_counted(missed)}")


def _row(progress: Progress, missed: Missed) -> dict[str, object]:
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
