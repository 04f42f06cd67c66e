"""What `consumer status` says of rules and windows: who reads by which, what waits, which windows are complete."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from consumer.domain.accepted_rules import differences, text_of
from consumer.domain.board_windows import KindOfBoard, missing_in
from consumer.domain.records import Corrections, Rules
from consumer.domain.text import many
from consumer.domain.timestamps import TimestampFormat
from consumer.domain.windows import kept_text
from consumer.operations.status import ShardCondition, ShardStatus, Status

SHOWN_SHARDS = 3
"""So many of the waiting shards are named."""


def iso_time(unix: float) -> str:
    """A time in unix seconds as texts show it, in UTC."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def attributes(status: Status) -> tuple[str, ...]:
    """The attributes of a game: player, score, timestamp."""
    newest = status.accepted.newest
    if newest is None:
        return status.scope.attributes
    return newest.player_attribute, newest.score_attribute, newest.timestamp_attribute


def records_line(status: Status) -> Iterator[str]:
    """By which rules records are read."""
    newest = status.accepted.newest
    if newest is not None:
        form = "ISO" if newest.timestamp_format is TimestampFormat.ISO else newest.timestamp_format.value
        yield f"records     by {', '.join(attributes(status))} ({form}): rules {len(status.accepted.entries)}"
    elif status.scope.attributes:
        yield f"records     by {', '.join(status.scope.attributes)}, as this command is set"
    if status.accepted.corrections is Corrections.APPLY:
        since = "the start" if status.begun_at is None else iso_time(status.begun_at)
        yield (
            f"corrections applied, also to games from before {since}, which are not counted: until those are "
            "back-filled, sums may be too low, and negative"
        )


def rules_lines(status: Status) -> Iterator[str]:
    """Which rules are in use, what is different in them, and which shards wait for a worker of newer ones."""
    entries = status.accepted.entries
    before: tuple[int, Rules] | None = None
    for number, rules in enumerate(entries, 1) if len(entries) > 1 else ():
        workers, shards = _readers(status, number)
        if not workers and not shards and number < len(entries):
            continue
        newest = ", the newest" if number == len(entries) else ""
        unlike = f". {_unlike(before, rules)}" if before is not None else ""
        yield f"rules       {number}{newest}: {many(workers, 'worker')}, {many(shards, 'shard')}{unlike}"
        before = number, rules
    yield from _waiting_for_stream(status)
    by_number: dict[int, list[ShardStatus]] = {}
    for shard in status.waiting_for_rules:
        by_number.setdefault(shard.rules or 0, []).append(shard)
    for number, waiting in sorted(by_number.items()):
        names = ", ".join(str(shard.shard) for shard in waiting[:SHOWN_SHARDS])
        more = f" and {len(waiting) - SHOWN_SHARDS} more" if len(waiting) > SHOWN_SHARDS else ""
        wait = "waits" if len(waiting) == 1 else "wait"
        yield (
            f"waiting     {many(len(waiting), 'shard')} {wait} for a worker of rules {number} or newer: {names}{more}. "
            f"The living ones read by {max(_living(status))} at most; next: `consumer run` with the settings of rules "
            f"{len(entries)}"
        )


def _waiting_for_stream(status: Status) -> Iterator[str]:
    """Where corrections count, which shards wait for an older stream, and for what of it."""
    held_back = [shard for shard in status.shards if shard.waits_for_stream]
    if not held_back:
        return
    unfinished = [each for each in status.shards if each.state is not ShardCondition.FINISHED and each not in held_back]
    wait = "waits" if len(held_back) == 1 else "wait"
    yield (
        f"waiting     {many(len(held_back), 'shard')} of stream {_labels(held_back)} {wait}, as corrections count: "
        f"first stream {_labels(unfinished)} must be read to its end, of which {many(len(unfinished), 'shard')} "
        f"{'is' if len(unfinished) == 1 else 'are'} not finished"
    )


def _labels(shards: Iterable[ShardStatus]) -> str:
    return ", ".join(sorted({each.shard.label for each in shards}))


def _living(status: Status) -> list[int]:
    return [worker.report.rules for worker in status.workers if worker.fresh]


def _readers(status: Status, number: int) -> tuple[int, int]:
    """How many living workers read by these rules, and of how many unfinished shards the rows name them."""
    unfinished = [shard.rules for shard in status.shards if shard.state is not ShardCondition.FINISHED]
    return _living(status).count(number), unfinished.count(number)


def _unlike(before: tuple[int, Rules], rules: Rules) -> str:
    number, others = before
    changes = (f"{each.variable} {each.after!r}, not {each.before!r}" for each in differences(others, rules))
    return f"Unlike {number}: {', '.join(changes)}"


def rules_fields(status: Status) -> list[dict[str, object]]:
    """The accepted rules for machines, oldest first."""
    found = []
    for number, rules in enumerate(status.accepted.entries, 1):
        workers, shards = _readers(status, number)
        found.append(
            {
                "number": number,
                "workers": workers,
                "shards": shards,
                "playerAttribute": rules.player_attribute,
                "scoreAttribute": rules.score_attribute,
                "timestampAttribute": rules.timestamp_attribute,
                "timestampFormat": rules.timestamp_format.value,
                "maxFutureSeconds": rules.max_future_seconds,
                "windows": text_of(rules, "windows"),
                "timeZone": rules.time_zone,
                "corrections": rules.corrections.value,
            }
        )
    return found


def windows_lines(status: Status) -> Iterator[str]:
    """Which windows the board keeps, and which of them do not hold all games yet."""
    windows = status.windows
    if windows is None or not windows.kinds:
        return
    if all(each.all_complete(status.now) for each in windows.kinds):
        yield f"windows     {kept_text(windows.kept)} in {windows.time_zone}: complete"
        return
    for each in windows.kinds:
        complete = each.all_complete(status.now)
        state = "complete" if complete else f"incomplete: {missing_in(each, status.now)}"
        yield f"windows     {each.kind}:{each.kept} in {windows.time_zone}: {state}"


def windows_fields(status: Status) -> list[dict[str, object]] | None:
    """The windows for machines; None: not known."""
    if status.windows is None:
        return None
    return [_kind_fields(each, status.now) for each in status.windows.kinds]


def _kind_fields(kind: KindOfBoard, now: float) -> dict[str, object]:
    first = kind.first_complete(now)
    return {
        "kind": kind.kind.value,
        "kept": kind.kept,
        "oldest": kind.names(now)[0],
        "complete": kind.all_complete(now),
        "firstComplete": None if first is None else first[0],
        "firstCompleteBegins": None if first is None else iso_time(first[1]),
        "shardsWithout": kind.lacking,
    }
