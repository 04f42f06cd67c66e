"""The status drawn for a person: a summary, the workers, a tree of shards. For machines: one object."""

import sys
from collections.abc import Iterable, Mapping
from typing import Final

from rich.tree import Tree

from consumer.cli.text import stdout_console
from consumer.domain.leases import Shard, label_of
from consumer.domain.overview import Gap
from consumer.operations.standing import Limits, ShardStatus, State, Status, WorkerStatus

SHOWN_GAPS: Final = 5


def status_fields(status: Status, limits: Limits) -> dict[str, object]:
    """The machine form; its shape is a contract."""
    verdict = status.verdict(limits)
    return {
        "verdict": verdict.name.lower(),
        "lagSeconds": _whole(status.lag_seconds),
        "lagAtMostSeconds": _whole(status.at_most_seconds),
        "retentionHeadroomSeconds": _whole(status.headroom_seconds),
        "quarantinePending": status.pending,
        "halted": [str(each.shard) for each in status.halted],
        "unreadStreams": list(status.unread),
        "strangeStreams": [birth.stream_arn for birth in status.strange],
        "workers": [_worker_fields(worker) for worker in status.workers],
        "shards": [_shard_fields(shard) for shard in status.shards],
        "gaps": [_gap_fields(gap) for gap in status.gaps],
        "replays": [dict(replay) for replay in status.replays],
    }


def _shard_fields(each: ShardStatus) -> dict[str, object]:
    return {
        "shardId": each.shard.shard_id,
        "streamArn": each.shard.stream_arn,
        "state": each.state.value,
        "owner": each.owner,
        "epoch": each.epoch,
        "checkpoint": each.checkpoint,
        "lagSeconds": _whole(each.lag_seconds),
        "atMostSeconds": _whole(each.at_most_seconds),
        "parentShardId": each.parent,
        "childShardIds": list(each.children),
        "haltedAt": _whole(each.halted_at),
    }


def _worker_fields(worker: WorkerStatus) -> dict[str, object]:
    return {
        "owner": worker.owner,
        "workerId": worker.owner.rpartition("/")[0],
        "shards": worker.owns,
        "behind": worker.vouch.behind,
        "lagSeconds": _whole(worker.vouch.lag_seconds),
        "beat": worker.vouch.beat,
        "beatSecondsAgo": _whole(worker.silent_seconds),
        "fresh": worker.fresh,
    }


def _gap_fields(gap: Gap) -> dict[str, object]:
    return {
        "streamArn": gap.stream_arn,
        "shardId": gap.shard_id,
        "from": gap.start,
        "to": gap.end,
        "loss": gap.loss,
        "foundAt": gap.found_at,
    }


def _whole(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def print_status(status: Status, limits: Limits, *, all_shards: bool, again: bool = False) -> None:
    """As wide as the terminal, and `again` in place of what was there; plain lines where stdout is none."""
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
    lag = span(status.lag_seconds) if status.lag_seconds is not None else f"unknown, {_at_most(status.at_most_seconds)}"
    yield f"lag         {lag}"
    yield f"data loss   in {span(status.headroom_seconds)} at the earliest"
    yield f"quarantine  {status.pending} pending"
    yield f"gaps        {len(status.gaps)}"
    for gap in status.gaps[-SHOWN_GAPS:]:
        where = f"shard {Shard(gap.stream_arn, gap.shard_id)}" if gap.shard_id else f"stream {label_of(gap.stream_arn)}"
        yield f"  {where}: from {gap.start} to {gap.end or 'not known yet'}, loss {gap.loss}, found {gap.found_at}"
    for stream_arn in status.unread:
        yield f"unread      no worker has begun with {stream_arn}"
    for birth in status.strange:
        yield (
            f"halted      stream {label_of(birth.stream_arn)}: lease table {birth.lease_table} began it, and the one "
            "that was looked at does not know it; the way on is `consumer init --adopt`"
        )
    for each in status.halted:
        way = "consumer checkpoint set" if each.state is State.MISSING else "consumer resume"
        why = "its row is missing" if each.state is State.MISSING else "most of its last records are poison"
        yield f"halted      {each.shard}: {why}; the way on is `{way}`"
    for replay in status.replays:
        where = replay["leaseKey"].partition("#")[2]
        yield f"replay      {where}: {replay['games']} games, behind {replay['position']} of {replay['to']}"
    if not status.workers:
        yield "workers     none"


def _worker_line(worker: WorkerStatus) -> str:
    if worker.silent_seconds is None:
        seen = "has joined, no word yet"
    else:
        seen = f"beat {span(worker.silent_seconds)} ago" + ("" if worker.fresh else ": no longer believed")
    behind = f"{worker.vouch.behind} behind by up to {span(worker.vouch.lag_seconds)}"
    return f"worker      {worker.owner}: owns {worker.owns}, {behind if worker.vouch.behind else '0 behind'}, {seen}"


def _trees(status: Status, *, all_shards: bool) -> Iterable[Tree]:
    """A tree a stream, shards under the nearest ancestor that is shown."""
    shown = {each.shard: each for each in status.shards if all_shards or each.state is not State.FINISHED}
    parents: Mapping[Shard, str | None] = {each.shard: each.parent for each in status.shards}
    for stream_arn in sorted({each.shard.stream_arn for each in status.shards}):
        hidden = sum(each.shard.stream_arn == stream_arn for each in status.shards if each.shard not in shown)
        folded = f" ({hidden} finished shards not shown: --all)" if hidden else ""
        tree = Tree(f"stream {label_of(stream_arn)}{folded}")
        branches: dict[Shard, Tree] = {}
        for shard in (shard for shard in shown if shard.stream_arn == stream_arn):
            _grow(shard, shown, parents, branches, tree)
        yield tree


def _grow(
    shard: Shard,
    shown: Mapping[Shard, ShardStatus],
    parents: Mapping[Shard, str | None],
    branches: dict[Shard, Tree],
    root: Tree,
) -> None:
    """Puts in the shard, and first those above it that are not in yet; lines of descent can be long."""
    line = [shard]
    while (parent := parents.get(line[-1])) is not None and line[-1] not in branches:
        line.append(Shard(shard.stream_arn, parent))
    branch = root
    for each in reversed(line):
        if each in branches:
            branch = branches[each]
        elif each in shown:
            branch = branches[each] = branch.add(_shard_line(shown[each]))


def _shard_line(each: ShardStatus) -> str:
    words = [each.shard.shard_id, each.state.value]
    if each.state not in (State.FINISHED, State.WAITING, State.MISSING):
        words.append(f"owner {each.owner or 'none'}, epoch {each.epoch}, at {each.checkpoint}")
    if each.lag_seconds is not None:
        words += [f"lag {span(each.lag_seconds)}"] if each.state is not State.FINISHED else []
    elif each.state is not State.WAITING or each.at_most_seconds is not None:
        words.append(f"lag unknown, {_at_most(each.at_most_seconds)}")
    return "  ".join(words)


def _at_most(seconds: float | None) -> str:
    return f"at most {span(seconds)}" if seconds is not None else "not even at most"


def span(seconds: float) -> str:
    """A time in the two largest units that it has."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    total = int(seconds)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
