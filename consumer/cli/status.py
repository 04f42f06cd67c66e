"""`consumer status`: the verdict, who owns what, and how far behind it is."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from textwrap import wrap
from threading import Event
from typing import TYPE_CHECKING, Final, NoReturn

import click

from consumer.cli.app import LOGS, Number, json_object, switch, with_settings
from consumer.cli.gaps import gap_fields
from consumer.cli.output import stdout_console, to_json
from consumer.cli.status_rules import (
    attributes,
    iso_time,
    records_line,
    rules_fields,
    rules_lines,
    windows_fields,
    windows_lines,
)
from consumer.domain.errors import StartRefused, UsageFault
from consumer.domain.leases import PROTOCOL, Shard, TableBinding, label_of, table_of
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.text import many
from consumer.operations.status import Limits, MemberStatus, ShardCondition, ShardStatus, Status
from consumer.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_GAPS: Final = 5
SHOWN_WORKERS: Final = 4
MARGIN: Final = 12
"""Columns before the text of a line: what it is about."""
SETTINGS: Final = (
    "source_table",
    "stream_arn",
    "lease_table",
    "quarantine_table",
    "lease_ttl_seconds",
)
ATTRIBUTES: Final = ("player_attribute", "score_attribute", "timestamp_attribute")


@click.command()
@json_object
@switch("--all", "everything", help="Healthy and finished shards and all workers too, however many lines that takes.")
@switch("--watch", help="Read it again and again until Ctrl-C, which ends it with 0.")
@click.option(
    "--every",
    type=Number(float, 1, "a number of seconds"),
    metavar="SECONDS",
    default=5.0,
    help="How often --watch reads.",
)
@click.option(
    "--behind-seconds",
    type=Number(float, 0, "a number of seconds"),
    metavar="SECONDS",
    default=60.0,
    help="A lag above this is behind: exit code 10.",
)
@click.option(
    "--headroom-seconds",
    type=Number(float, 0, "a number of seconds"),
    metavar="SECONDS",
    default=14_400.0,
    help="Less than this until data loss is near: exit code 11.",
)
@with_settings(*SETTINGS, *LOGS, needs={"stream"}, without_flags=ATTRIBUTES)
def status(
    settings: Settings,
    *,
    json: bool,
    everything: bool,
    watch: bool,
    every: float,
    behind_seconds: float,
    headroom_seconds: float,
) -> int:
    """Shows the verdict, the lag and the time until data loss, quarantine, gaps, who owns what, the worst shards first.

    Reads the tables and the stream only, so it works with no worker alive. The lag of a shard that no living worker
    reports is unknown, and at most what is shown. On a terminal it shows as much as the screen takes, without --all.
    Pass the workers' LEASE_TTL_SECONDS.

    \b
    Example:
      consumer status --source-table GameEvents --watch

    \b
    Exit codes:
      0   healthy                       3   AWS refuses or is not there
      10  behind, no worker, unknown    4   the tables are of another source
      11  data loss near
      12  halted: the operator must act
      2   wrong flags or settings
    """
    from consumer.wiring.operators import status as status_of

    if json and watch:
        raise UsageFault("--json prints one document: leave out --watch")
    limits = Limits(behind_seconds, headroom_seconds)
    read = status_of(settings)
    if watch:
        try:
            _watch(read, every, partial(print_status, limits=limits, everything=everything, again=True))
        except KeyboardInterrupt:
            return 0
    now = read()
    if json:
        print(to_json(status_fields(now, limits)))
    else:
        print_status(now, limits, everything=everything)
    return now.verdict(limits).exit_code


def _watch(read: Callable[[], Status], every_seconds: float, show: Callable[..., None]) -> NoReturn:
    """Until Ctrl-C. The first read must succeed; afterwards the operator may be watching an outage."""
    last, read_at = read(), time.monotonic()
    show(last)
    while True:
        Event().wait(every_seconds)
        try:
            last, read_at = read(), time.monotonic()
        except StartRefused as refusal:
            show(last, outage=f"it cannot be read: {refusal}", seconds_ago=time.monotonic() - read_at)
        else:
            show(last)


def status_fields(status: Status, limits: Limits) -> dict[str, object]:
    """The machine form; its shape is a contract."""
    scope = status.scope
    return {
        "verdict": status.verdict(limits).value,
        "sourceTables": list(status.sources),
        "leaderboardTables": list(status.boards),
        "leaseTable": scope.lease_table,
        "quarantineTable": scope.quarantine_table,
        "attributes": list(attributes(status)),
        "endpoints": list(scope.endpoints),
        "lagSeconds": _whole(status.lag_seconds),
        "lagAtMostSeconds": _whole(status.at_most_seconds),
        "retentionHeadroomSeconds": _whole(status.headroom_seconds),
        "quarantinePending": status.pending,
        "halted": [str(shard.shard) for shard in status.halted],
        "haltedStreams": [halt.detail for halt in status.stream_halts],
        "unreadStreams": list(status.unread),
        "strangeStreams": [binding.stream_arn for binding in status.unknown_streams],
        "unboundStreams": list(status.unbound),
        "streams": [
            {"streamArn": stream_arn, "writes": writes.mode.value, "why": writes.why}
            for stream_arn, writes in status.writes.items()
        ],
        "rules": rules_fields(status),
        "corrections": status.accepted.corrections.value if status.accepted.entries else None,
        "countedSince": None if status.begun_at is None else iso_time(status.begun_at),
        "timeZone": status.windows.time_zone if status.windows is not None else None,
        "windows": windows_fields(status),
        "workers": [_worker_fields(worker) for worker in status.workers],
        "shards": [_shard_fields(shard) for shard in status.shards],
        "openGaps": len(status.open_gaps) if not status.unbound else None,
        "gaps": [gap_fields(gap) for gap in status.gaps],
        "replays": [dict(replay) for replay in status.replays],
    }


def _shard_fields(shard: ShardStatus) -> dict[str, object]:
    symptom = shard.circuit.symptom
    return {
        "shardId": shard.shard.shard_id,
        "streamArn": shard.shard.stream_arn,
        "state": shard.state.value,
        "owner": shard.owner,
        "epoch": shard.epoch,
        "checkpoint": shard.checkpoint,
        "lagSeconds": _whole(shard.lag_seconds),
        "atMostSeconds": _whole(shard.at_most_seconds),
        "parentShardId": shard.parent,
        "childShardIds": list(shard.children),
        "rules": shard.rules,
        "waitsForRules": shard.waits_for_rules,
        "waitsForStream": shard.waits_for_stream,
        "haltedAt": _whole(shard.circuit.halted_at),
        "haltReason": symptom.reason.value if symptom is not None else None,
        "haltDetail": symptom.detail if symptom is not None else None,
        "haltExample": symptom.sequence_number if symptom is not None else None,
        "haltPlayer": symptom.player if symptom is not None else None,
    }


def _worker_fields(worker: MemberStatus) -> dict[str, object]:
    return {
        "owner": worker.owner,
        "workerId": worker.owner.rpartition("/")[0],
        "shards": worker.owns,
        "behind": worker.report.behind,
        "unknown": worker.report.unknown,
        "lagSeconds": _whole(worker.report.lag_seconds),
        "beat": worker.report.number,
        "beatSecondsAgo": _whole(worker.silent_seconds),
        "fresh": worker.fresh,
        "protocol": worker.report.protocol,
        "rules": worker.report.rules or None,
    }


def _whole(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def print_status(
    status: Status,
    limits: Limits,
    *,
    everything: bool,
    again: bool = False,
    outage: str | None = None,
    seconds_ago: float = 0.0,
) -> None:
    """As wide as the terminal, and no longer than its screen; plain lines where stdout is none.

    `again`: in place of what the terminal shows. `outage`: why it is not known now; `status` was so `seconds_ago`.
    """
    console = stdout_console()
    terminal = sys.stdout.isatty()
    texts = list(_lines(status, limits, everything=everything))
    if outage is not None:
        texts[:1] = ["unknown", f"now         {outage}", f"before      {texts[0]}, {duration(seconds_ago)} ago:"]
    lines = [line for text in texts for line in _folded(text, console)]
    if terminal and (again or not everything):
        lines = _cut(lines, console.height - 1, "without --watch" if everything else "--all")
    if again and terminal:
        console.clear()
    for line in lines:
        console.print(line, soft_wrap=True)
    sys.stdout.flush()


def _folded(line: str, console: "Console") -> list[str]:
    """A line that does not fit goes on below its text; a row of the table is cut."""
    if len(line) <= console.width:
        return [line]
    if line.startswith(" "):
        return [f"{line[: console.width - 1]}…"]
    return wrap(line, console.width, subsequent_indent=" " * MARGIN, break_on_hyphens=False)


def _cut(lines: list[str], height: int, how: str) -> list[str]:
    """What the screen takes: the verdict must not scroll off it."""
    if len(lines) <= height:
        return lines
    shown = max(1, height - 1)
    return [*lines[:shown], f"... {len(lines) - shown} more lines, {how}"]


def _lines(status: Status, limits: Limits, *, everything: bool) -> Iterator[str]:
    """The verdict, what it is about, what is wrong, the workers, the shards."""
    yield status.verdict(limits).value.replace("_", " ")
    yield from _about(status)
    yield from _lag(status)
    yield from _beside(status)
    yield from _halts(status)
    yield from rules_lines(status)
    for stream_arn, writes in status.writes.items():
        of_stream = "" if len(status.writes) == 1 else f"stream {label_of(stream_arn)}: "
        yield f"writes      {of_stream}{writes}"
    yield from windows_lines(status)
    for replay in status.replays:
        where = replay["leaseKey"].partition("#")[2]
        yield f"replay      {where}: {replay['games']} games, behind {replay['position']} of {replay['to']}"
    yield from _workers(status, everything=everything)
    yield from _shards(status, limits, everything=everything)


def _about(status: Status) -> Iterator[str]:
    """Which installation this is."""
    scope = status.scope
    for table_arn in status.sources:
        region, account, table = table_arn.split(":", 5)[3:]
        yield f"source      {table.removeprefix('table/')} in {region}, account {account}"
    yield f"board       {', '.join(status.boards) or 'not known: no worker has begun to read'}"
    for endpoint in scope.endpoints:
        yield f"endpoint    {endpoint}"
    yield from records_line(status)


def _lag(status: Status) -> Iterator[str]:
    """What is known of it. A number only bounds what it is said of."""
    at_most, headroom = status.at_most_seconds, status.headroom_seconds
    if at_most is not None and headroom is not None:
        yield f"lag         {'unknown, at most ' if status.lag_seconds is None else ''}{duration(at_most)}"
        yield f"data loss   in {duration(headroom)} at the earliest"
        return
    blind = f" ({many(len(status.blind), 'shard')})" if status.blind else ""
    yield f"lag         unknown: nothing shows how far the stream is read{blind}"
    yield "data loss   unknown: what was not read for 24 hours is lost"
    if any(shard.worst_seconds is not None and shard.state is not ShardCondition.FINISHED for shard in status.shards):
        left = duration(RETENTION_SECONDS - status.worst_seconds)
        yield f"others      lag at most {duration(status.worst_seconds)}, data loss in {left} at the earliest"


def _beside(status: Status) -> Iterator[str]:
    """Quarantine and gaps."""
    table = status.scope.quarantine_table
    if status.unbound:
        streams = ", ".join(map(label_of, status.unbound))
        yield f"quarantine  unknown: table {table} does not know stream {streams}. Is CONSUMER_QUARANTINE_TABLE right?"
        yield "gaps        unknown"
        return
    unknown = "unknown: the table has no index; next: `consumer init`"
    yield f"quarantine  {unknown if status.pending is None else f'{status.pending} pending'}"
    acknowledged = len(status.gaps) - len(status.open_gaps)
    yield f"gaps        {len(status.open_gaps)}" + (f", and {acknowledged} acknowledged" if acknowledged else "")
    for gap in status.open_gaps[-SHOWN_GAPS:]:
        where = f"shard {Shard(gap.stream_arn, gap.shard_id)}" if gap.shard_id else f"stream {label_of(gap.stream_arn)}"
        end = gap.end or "not known yet"
        yield f"gap         {where}: from {gap.start} to {end}, loss {gap.loss}, found {gap.found_at}"


def _halts(status: Status) -> Iterator[str]:
    """What is not read, and what to do; the harmless first."""
    for stream_arn in status.unread:
        yield f"unread      no worker has begun to read stream {label_of(stream_arn)} of {table_of(stream_arn)}"
    if status.stream_off:
        yield f"off         the stream is off: {status.stream_off}"
    for binding in status.unknown_streams:
        yield f"halted      stream {label_of(binding.stream_arn)}: {_lost(binding, status.scope.lease_table)}"
    for halt in status.stream_halts:
        yield f"halted      {halt.detail}"
    for shard in status.halted:
        if shard.state is ShardCondition.MISSING:
            yield f"halted      {shard.shard}: its row is missing; next: `consumer checkpoint set`"
        else:
            command = f"consumer resume {shard.shard}{shard.circuit.resume_options}"
            yield f"halted      {shard.shard}: {shard.circuit.cause}; next: `{command}`"


def _lost(binding: TableBinding, lease_table: str) -> str:
    """Why the lease table is not the stream's, and what to do."""
    if binding.lease_table != lease_table:
        return (
            f"its lease table is {binding.lease_table}, not {lease_table}. Is CONSUMER_LEASE_TABLE right? Only if "
            f"{lease_table} has taken the other one's place: `consumer init --adopt`"
        )
    return (
        f"lease table {lease_table} does not know it any more. Restore the table from a backup; only if there is none: "
        "`consumer init --adopt`"
    )


def _workers(status: Status, *, everything: bool) -> Iterator[str]:
    """Those that need a look first."""
    if not status.workers:
        yield "workers     none: nothing is read; next: `consumer run`"
    worst = sorted(status.workers, key=lambda worker: (worker.fresh, -worker.report.lag_seconds))
    shown = worst if everything else worst[:SHOWN_WORKERS]
    yield from (_worker_line(worker, several_rules=len(status.accepted.entries) > 1) for worker in shown)
    if len(worst) > len(shown):
        yield f"workers     {len(worst) - len(shown)} more, --all"


def _worker_line(worker: MemberStatus, *, several_rules: bool) -> str:
    if worker.silent_seconds is None:
        seen = "has joined, no heartbeat yet"
    else:
        seen = f"heartbeat {duration(worker.silent_seconds)} ago" + ("" if worker.fresh else ": too old to rely on")
    report = worker.report
    behind = f"{report.behind} behind by up to {duration(report.lag_seconds)}" if report.behind else "0 behind"
    if report.unknown:
        behind += f" (lag of {report.unknown} unknown)"
    if several_rules:
        seen += f", rules {report.rules or 'unknown'}"
    if report.protocol != PROTOCOL:
        seen += f", protocol {report.protocol}: beside it workers of protocol {PROTOCOL} claim nothing"
    return f"worker      {worker.owner}: owns {worker.owns}, {behind}, {seen}"


def _shards(status: Status, limits: Limits, *, everything: bool) -> Iterator[str]:
    """One line per shard, the worst first; a line that begins with a blank is a row of the table."""
    shown = [shard for shard in status.shards if everything or _needs_a_look(shard, status, limits)]
    hidden = Counter(shard.state for shard in status.shards) - Counter(shard.state for shard in shown)
    names = {ShardCondition.RUNNING: "healthy", ShardCondition.WAITING: "waiting for their parents"}
    folded = ", ".join(f"{count} {names.get(state, state.value)}" for state, count in sorted(hidden.items()))
    yield f"shards      {len(status.shards)}" + (f": {folded} not shown, --all" if folded else "")
    if not shown:
        return
    worst = sorted(shown, key=_badness)
    rows = [(each.shard.shard_id, each.state.value, _lag_of(each), each.owner or "none") for each in worst]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    several = len({each.shard.stream_arn for each in worst}) > 1
    for stream_arn in dict.fromkeys(each.shard.stream_arn for each in worst):
        if several:
            yield f"  stream {label_of(stream_arn)}"
        for each, row in zip(worst, rows, strict=True):
            if each.shard.stream_arn == stream_arn:
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                yield f"  {'  '.join(cells).rstrip()}"


def _needs_a_look(shard: ShardStatus, status: Status, limits: Limits) -> bool:
    if shard.state is ShardCondition.FINISHED:
        return False
    if shard.waits_for_parent:
        return shard in status.blind
    late = shard.lag_seconds is None or shard.lag_seconds > limits.behind_seconds
    return late or shard.state is not ShardCondition.RUNNING


def _badness(shard: ShardStatus) -> tuple[bool, bool, float, Shard]:
    """Sort key: halted first, then those of which nothing is known, then by lag."""
    halted = shard.state in (ShardCondition.HALTED, ShardCondition.MISSING)
    return (not halted, shard.worst_seconds is not None, -(shard.worst_seconds or 0.0), shard.shard)


def _lag_of(shard: ShardStatus) -> str:
    if shard.lag_seconds is not None:
        return "-" if shard.state is ShardCondition.FINISHED else duration(shard.lag_seconds)
    return "unknown" if shard.at_most_seconds is None else f"up to {duration(shard.at_most_seconds)}"


def duration(seconds: float) -> str:
    """In the two largest units of hours, minutes and seconds."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    total = int(seconds)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
