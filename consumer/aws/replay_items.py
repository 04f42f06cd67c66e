"""A replay's progress row as an item of the lease table, and back."""

from typing import Any, Final

from consumer.aws.items import Item, lease_key, number, seconds, strings, text
from consumer.aws.overview import REPLAY_PREFIX
from consumer.domain.leases import Shard
from consumer.domain.replay import Mode, Progress, Range

RUNNING: Final = "running"
FINISHED: Final = "finished"


def progress_key(shard: Shard, target: str) -> dict[str, Any]:
    """One row a shard and target."""
    return lease_key(f"{REPLAY_PREFIX}{shard}#{target}")


def progress_item(progress: Progress) -> dict[str, Any]:
    """The row as an item."""
    return {
        **progress_key(progress.shard, progress.target),
        "streamArn": {"S": progress.shard.stream_arn},
        "shardId": {"S": progress.shard.shard_id},
        "leaderboardTable": {"S": progress.target},
        "mode": {"S": progress.mode.value},
        "from": {"S": progress.range.first},
        "to": {"S": progress.range.last},
        "asked": {"S": progress.asked},
        "position": {"S": progress.position},
        "act": {"S": progress.act},
        "runner": {"S": progress.runner},
        "startedBy": {"S": progress.who},
        "startedAt": seconds(progress.started_at),
        "state": {"S": RUNNING if progress.running else FINISHED},
        "games": number(progress.games),
        "skipped": number(progress.skipped),
        "done": strings(tuple(map(str, progress.done))),
    }


def progress_row(item: Item) -> Progress:
    """The row from its item."""
    return Progress(
        shard=Shard(item["streamArn"]["S"], item["shardId"]["S"]),
        target=item["leaderboardTable"]["S"],
        mode=Mode(item["mode"]["S"]),
        range=Range(item["from"]["S"], item["to"]["S"]),
        asked=item["asked"]["S"],
        position=item["position"]["S"],
        act=item["act"]["S"],
        runner=item["runner"]["S"],
        who=item["startedBy"]["S"],
        started_at=float(item["startedAt"]["N"]),
        running=text(item, "state") == RUNNING,
        games=int(item["games"]["N"]),
        skipped=int(item["skipped"]["N"]),
        done=tuple(_range(told["S"]) for told in item["done"]["L"]),
    )


def _range(told: str) -> Range:
    first, _, last = told.partition("..")
    return Range(first, last)
