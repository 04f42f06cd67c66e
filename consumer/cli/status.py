"""`consumer status`: who owns what, and how far behind it is."""

import sys
from collections.abc import Callable, Iterable, Mapping
from threading import Event
from typing import TYPE_CHECKING, Final, NoReturn

import click

from consumer.cli.app import LOGS, json_object, switch, with_settings
from consumer.cli.gaps import gap_fields
from consumer.cli.output import stdout_console, to_json
from consumer.domain.errors import StartRefused, UsageFault
from consumer.domain.leases import PROTOCOL, Shard, label_of
from consumer.operations.status import Limits, MemberStatus, ShardCondition, ShardStatus, Status
from consumer.settings import Settings

if TYPE_CHECKING:
    from rich.tree import Tree

SHOWN_GAPS: Final = 5
SETTINGS: Final = ("source_table", "stream_arn", "lease_table", "quarantine_table", "lease_ttl_seconds")


@click.command()
@json_object
@switch("--all", "all_shards", help="Finished shards too.")
@switch("--watch", help="Read it again and again until Ctrl-C, which ends it with 0.")
@click.option("--every", type=click.FloatRange(min=1), metavar="SECONDS", default=5.0, help="How often --watch reads.")
@click.option(
    "--behind-seconds",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=60.0,
    help="A lag above this is behind: exit code 10.",
)
@click.option(
    "--headroom-seconds",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=14_400.0,
    help="Less than this until data loss is near: exit code 11.",
)
@with_settings(*SETTINGS, *LOGS, needs={"stream"})
def status(
    settings: Settings,
    *,
    json: bool,
    all_shards: bool,
    watch: bool,
    every: float,
    behind_seconds: float,
    headroom_seconds: float,
) -> int:
    """Shows who owns what, every shard, the lag, the time until data loss, quarantine, gaps and halted shards.

    Reads the tables and the stream only, so it works with no worker alive. The lag of a shard that no living worker
    reports is unknown, and at most what is shown. Pass the workers' LEASE_TTL_SECONDS.

    \b
    Example:
      consumer status --source-table GameEvents --watch

    \b
    Exit codes:
      0   healthy                       2   wrong flags or settings
      10  behind, or never started        3   AWS refuses or is not there
      11  data loss near
      12  halted: the operator must act
    """
    from consumer.wiring.operators import status as status_of

    if json and watch:
        raise UsageFault("--json prints one document: leave out --watch")
    limits = Limits(behind_seconds, headroom_seconds)
    read = status_of(settings)
    if watch:
        try:
            _watch(read, every, lambda now: print_status(now, limits, all_shards=all_shards, again=True))
        except KeyboardInterrupt:
            return 0
    now = read()
    if json:
        print(to_json(status_fields(now, limits)))
    else:
        print_status(now, limits, all_shards=all_shards)
    return int(now.verdict(limits))


def _watch(read: Callable[[], Status], every_seconds: float, show: Callable[[Status], None]) -> NoReturn:
    """Until Ctrl-C. The first read must succeed; afterwards the operator may be watching an outage."""
    show(read())
    while True:
        Event().wait(every_seconds)
        try:
            now = read()
        except StartRefused as refusal:
            print(refusal, file=sys.stderr)
        else:
            show(now)


def status_fields(status: Status, limits: Limits) -> dict[str, object]:
    """The machine form; its shape is a contract."""
    verdict = status.verdict(limits)
    return {
        "verdict": verdict.name.lower(),
        "lagSeconds": _whole(status.lag_seconds),
        "lagAtMostSeconds": _whole(status.at_most_seconds),
        "retentionHeadroomSeconds": _whole(status.headroom_seconds),
        "quarantinePending": status.pending,
        "halted": [str(shard.shard) for shard in status.halted],
        "haltedStreams": [halt.detail for halt in status.stream_halts],
        "unreadStreams": list(status.unread),
        "strangeStreams": [binding.stream_arn for binding in status.unknown_streams],
        "streams": [
            {"streamArn": stream_arn, "writes": writes.mode.value, "why": writes.why}
            for stream_arn, writes in status.writes.items()
        ],
        "workers": [_worker_fields(worker) for worker in status.workers],
        "shards": [_shard_fields(shard) for shard in status.shards],
        "openGaps": len(status.open_gaps),
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
    }


def _whole(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def print_status(status: Status, limits: Limits, *, all_shards: bool, again: bool = False) -> None:
    """As wide as the terminal, plain lines where stdout is none. `again`: in place of what the terminal shows."""
    console = stdout_console()
    if again and sys.stdout.isatty():
        console.clear()
    for line in _summary(status, limits):
        console.print(line)
    for worker in status.workers:
        console.print(_worker_line(worker))
    for tree in _trees(status, all_shards=all_shards):
        console.print(tree)
    sys.stdout.flush()


def _summary(status: Status, limits: Limits) -> Iterable[str]:
    yield status.verdict(limits).name.lower().replace("_", " ")
    at_most = f"unknown, at most {duration(status.at_most_seconds)}"
    yield f"lag         {at_most if status.lag_seconds is None else duration(status.lag_seconds)}"
    yield f"data loss   in {duration(status.headroom_seconds)} at the earliest"
    unknown = "unknown: the table has no index; next: `consumer init`"
    yield f"quarantine  {unknown if status.pending is None else f'{status.pending} pending'}"
    acknowledged = len(status.gaps) - len(status.open_gaps)
    yield f"gaps        {len(status.open_gaps)}" + (f", and {acknowledged} acknowledged" if acknowledged else "")
    for gap in status.open_gaps[-SHOWN_GAPS:]:
        where = f"shard {Shard(gap.stream_arn, gap.shard_id)}" if gap.shard_id else f"stream {label_of(gap.stream_arn)}"
        yield f"  {where}: from {gap.start} to {gap.end or 'not known yet'}, loss {gap.loss}, found {gap.found_at}"
    for stream_arn, writes in status.writes.items():
        of_stream = "" if len(status.writes) == 1 else f"stream {label_of(stream_arn)}: "
        yield f"writes      {of_stream}{writes}"
    for stream_arn in status.unread:
        yield f"unread      no worker has started {stream_arn}"
    for binding in status.unknown_streams:
        why = f"lease table {binding.lease_table} started it, this one does not know it"
        yield f"halted      stream {label_of(binding.stream_arn)}: {why}; next: `consumer init --adopt`"
    for halt in status.stream_halts:
        yield f"halted      {halt.detail}"
    for shard in status.halted:
        if shard.state is ShardCondition.MISSING:
            yield f"halted      {shard.shard}: its row is missing; next: `consumer checkpoint set`"
        else:
            options = shard.circuit.resume_options
            command = f"consumer resume {shard.shard}{options}" if options else "consumer resume"
            yield f"halted      {shard.shard}: {shard.circuit.cause}; next: `{command}`"
    for replay in status.replays:
        where = replay["leaseKey"].partition("#")[2]
        yield f"replay      {where}: {replay['games']} games, behind {replay['position']} of {replay['to']}"
    if not status.workers:
        yield "workers     none"


def _worker_line(worker: MemberStatus) -> str:
    if worker.silent_seconds is None:
        seen = "has joined, no heartbeat yet"
    else:
        seen = f"heartbeat {duration(worker.silent_seconds)} ago" + ("" if worker.fresh else ": too old to rely on")
    report = worker.report
    behind = f"{report.behind} behind by up to {duration(report.lag_seconds)}" if report.behind else "0 behind"
    if report.unknown:
        behind += f" (lag of {report.unknown} unknown)"
    if report.protocol != PROTOCOL:
        seen += f", protocol {report.protocol}: beside it workers of protocol {PROTOCOL} claim nothing"
    return f"worker      {worker.owner}: owns {worker.owns}, {behind}, {seen}"


def _trees(status: Status, *, all_shards: bool) -> Iterable["Tree"]:
    from rich.tree import Tree

    """One tree per stream, shards under the nearest ancestor that is shown."""
    shown = {each.shard: each for each in status.shards if all_shards or each.state is not ShardCondition.FINISHED}
    parents = {each.shard: each.parent for each in status.shards}
    for stream_arn in sorted({shard.stream_arn for shard in parents}):
        hidden = sum(shard.stream_arn == stream_arn for shard in parents if shard not in shown)
        folded = f" ({hidden} finished shards not shown: --all)" if hidden else ""
        tree = Tree(f"stream {label_of(stream_arn)}{folded}")
        branches: dict[Shard, Tree] = {}
        for shard in (shard for shard in shown if shard.stream_arn == stream_arn):
            _add_shard(shard, shown, parents, branches, tree)
        yield tree


def _add_shard(
    shard: Shard,
    shown: Mapping[Shard, ShardStatus],
    parents: Mapping[Shard, str | None],
    branches: dict[Shard, "Tree"],
    root: "Tree",
) -> None:
    """Adds the shard, and first its ancestors that are not there yet; without recursion, a lineage can be long."""
    lineage = [shard]
    while (parent := parents.get(lineage[-1])) is not None and lineage[-1] not in branches:
        lineage.append(Shard(shard.stream_arn, parent))
    branch = root
    for ancestor in reversed(lineage):
        if ancestor in branches:
            branch = branches[ancestor]
        elif ancestor in shown:
            branch = branches[ancestor] = branch.add(_shard_line(shown[ancestor]))


def _shard_line(shard: ShardStatus) -> str:
    parts = [shard.shard.shard_id, shard.state.value]
    if shard.state not in (ShardCondition.FINISHED, ShardCondition.WAITING, ShardCondition.MISSING):
        parts.append(f"owner {shard.owner or 'none'}, epoch {shard.epoch}, at {shard.checkpoint}")
    if shard.lag_seconds is not None:
        parts += [f"lag {duration(shard.lag_seconds)}"] if shard.state is not ShardCondition.FINISHED else []
    elif shard.state is not ShardCondition.WAITING or shard.at_most_seconds is not None:
        parts.append(_unknown_lag(shard.at_most_seconds))
    return "  ".join(parts)


def _unknown_lag(at_most_seconds: float | None) -> str:
    return "lag unknown" if at_most_seconds is None else f"lag unknown, at most {duration(at_most_seconds)}"


def duration(seconds: float) -> str:
    """In the two largest units of hours, minutes and seconds."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    total = int(seconds)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
