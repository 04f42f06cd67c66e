"""Rows of the lease and quarantine tables as DynamoDB items, and back. The encodings are a contract."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from math import ceil
from typing import Any, Final

from consumer.aws.rule_items import accepted_rules, windows_of, windows_value
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.audit import AuditEntry
from consumer.domain.breaker import Circuit, HaltReason, Symptom
from consumer.domain.leases import TRIM_HORIZON, Lease, LeaseRow, Ledger, Shard, StreamStart, TableBinding, label_of
from consumer.domain.membership import HeartbeatReport, LateShard, Members
from consumer.domain.operator_ports import Acknowledgement, Gap
from consumer.domain.records import Reason
from consumer.domain.replay import Mode, Progress, Range

Item = Mapping[str, Any]
Action = dict[str, Any]
"""An action of TransactWriteItems."""

MEMBERS_KEY: Final = "members"
SOURCE_KEY: Final = "source"
SHARD_PREFIX: Final = "shard#"
STREAM_PREFIX: Final = "stream#"
REPLAY_PREFIX: Final = "replay#"
WORKER_PREFIX: Final = "worker#"
"""Of an attribute of the `members` item; the prefixes above are those of `leaseKey`."""

BINDING: Final = "#birth"
GAP: Final = "#gap"
AUDIT: Final = "#audit"
"""These three are partitions of the quarantine table. No shard id begins with `#`."""

PENDING_INDEX: Final = "pending"
"""Index of the quarantine table: only rows with PENDING_KEY are in it. It serves their `state` besides all keys."""
PENDING_KEY: Final = "pendingShardId"
EXPIRY: Final = "expiresAt"
"""The attribute by which DynamoDB's time to live deletes a row; rows without it stay."""


def number(value: int) -> dict[str, str]:
    """A whole number; DynamoDB writes numbers as text."""
    return {"N": str(value)}


def seconds(value: float) -> dict[str, str]:
    """Seconds, to the millisecond."""
    return {"N": f"{value:.3f}".rstrip("0").rstrip(".")}


def strings(values: tuple[str, ...]) -> dict[str, Any]:
    """A list of strings."""
    return {"L": [{"S": value} for value in values]}


def iso(unix: float) -> str:
    """An ISO time in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=1_024)
def is_date(stored: str) -> bool:
    """Whether a stored `lastPlayedDate` is a day of the calendar, written YYYY-MM-DD."""
    try:
        return date.fromisoformat(stored).isoformat() == stored
    except ValueError:
        return False


def text(item: Item, name: str, tag: str = "S") -> str | None:
    """The attribute's value, None when there is no such attribute with this type tag."""
    value = item.get(name, {}).get(tag)
    return value if isinstance(value, str) else None


def _float(item: Item, name: str) -> float | None:
    value = text(item, name, "N")
    return float(value) if value is not None else None


def lease_key(key: str) -> dict[str, Any]:
    """The key of an item of the lease table."""
    return {"leaseKey": {"S": key}}


def shard_key(shard: Shard) -> str:
    """`leaseKey` of a shard's row. It holds the stream's label: shard ids are unique only within a stream."""
    return f"{SHARD_PREFIX}{shard.label}#{shard.shard_id}"


def lease_item(row: LeaseRow) -> dict[str, Any]:
    """A shard's row as an item."""
    item: dict[str, Any] = {
        **lease_key(shard_key(row.shard)),
        "streamArn": {"S": row.shard.stream_arn},
        "shardId": {"S": row.shard.shard_id},
        "leaseEpoch": number(row.epoch),
        "checkpoint": {"S": row.checkpoint},
        "hadGame": {"BOOL": row.circuit.had_game},
        "ignoredCorrections": {"BOOL": row.circuit.ignored},
    }
    if row.owner is not None:
        item["leaseOwner"] = {"S": row.owner}
    if row.parent is not None:
        item["parentShardId"] = {"S": row.parent}
    if row.circuit.resumes:
        item["resumes"] = number(row.circuit.resumes)
    if row.children:
        item["childShardIds"] = strings(row.children)
    if row.created is not None:
        item["checkpointCreatedAt"] = seconds(row.created)
    if row.unlisted_since is not None:
        item["unlistedSince"] = seconds(row.unlisted_since)
    if row.rules:
        item |= {"rules": number(row.rules), "windows": windows_value(row.windows)}
    return item


def lease_row(item: Item) -> LeaseRow:
    """A shard's row from its item.

    Version 0.1 wrote neither `hadGame` nor `ignoredCorrections`: both count as true then, but for a root shard of
    which nothing is committed. Nor did it write `rules` and `windows`.
    """
    begun = text(item, "checkpoint") != TRIM_HORIZON or "parentShardId" in item
    circuit = Circuit(
        recent=int(text(item, "recentPoison") or "0", 16),
        halted_at=_float(item, "haltedAt"),
        free_to=text(item, "freeTo"),
        resumes=int(text(item, "resumes", "N") or "0"),
        had_game=bool(item.get("hadGame", {}).get("BOOL", begun)),
        ignored=bool(item.get("ignoredCorrections", {}).get("BOOL", begun)),
        symptom=symptom_row(item) if "haltReason" in item else None,
    )
    return LeaseRow(
        shard=Shard(item["streamArn"]["S"], item["shardId"]["S"]),
        owner=text(item, "leaseOwner"),
        epoch=int(item["leaseEpoch"]["N"]),
        checkpoint=item["checkpoint"]["S"],
        parent=text(item, "parentShardId"),
        children=tuple(child["S"] for child in item.get("childShardIds", {}).get("L", ())),
        created=_float(item, "checkpointCreatedAt"),
        unlisted_since=_float(item, "unlistedSince"),
        circuit=circuit,
        rules=int(text(item, "rules", "N") or 0),
        windows=windows_of(item),
    )


def symptom_item(symptom: Symptom) -> dict[str, Any]:
    """Why a shard halted, as attributes of its row."""
    item = {
        "haltReason": {"S": symptom.reason.value},
        "haltDetail": {"S": symptom.detail},
        "haltExample": {"S": symptom.sequence_number},
    }
    return item if symptom.player is None else {**item, "haltPlayer": {"S": symptom.player}}


def symptom_row(item: Item) -> Symptom:
    """Why a shard halted, from its item."""
    code = item["haltReason"]["S"]
    reason = HaltReason(code) if code in list(HaltReason) else Reason(code)
    return Symptom(reason, item["haltDetail"]["S"], item["haltExample"]["S"], text(item, "haltPlayer"))


NO_HALT: Final = "haltedAt, haltReason, haltDetail, haltExample, haltPlayer"
"""What a row loses when its circuit is closed."""
FENCE: Final = "leaseOwner = :me AND leaseEpoch = :epoch"
"""Keeps a zombie out: only the holder of this very epoch passes."""
NEW_ROW: Final = "attribute_not_exists(leaseKey)"
"""Of the lease table: the item is not there yet."""
NEW_QUARANTINE_ROW: Final = "attribute_not_exists(shardId)"
"""The same of the quarantine table."""


def fence_values(lease: Lease) -> dict[str, Any]:
    """What FENCE compares with."""
    return {":me": {"S": lease.owner}, ":epoch": number(lease.epoch)}


def owned_by(owner: str | None) -> tuple[str, dict[str, Any]]:
    """The condition that this worker owns the shard (None: no worker does), and its values."""
    if owner is None:
        return "attribute_not_exists(leaseOwner)", {}
    return "leaseOwner = :owner", {":owner": {"S": owner}}


def resumed_times(resumes: int) -> tuple[str, dict[str, Any]]:
    """The condition that the circuit was closed just so many times, and its values. Otherwise a halt is another one."""
    if not resumes:
        return "attribute_not_exists(resumes)", {}
    return "resumes = :resumes", {":resumes": number(resumes)}


def stream_key(stream_arn: str) -> str:
    """`leaseKey` of a stream's row."""
    return f"{STREAM_PREFIX}{label_of(stream_arn)}"


ROOTS: Final = "rootShards"
OLD_ROOTS: Final = "rootShardIds"
"""Its name in version 0.1, which cannot read a stream's row without it: so no such worker counts beside a new one."""


def stream_start_item(start: StreamStart) -> dict[str, Any]:
    """A stream's row as an item."""
    item: dict[str, Any] = {
        **lease_key(stream_key(start.stream_arn)),
        "streamArn": {"S": start.stream_arn},
        ROOTS: strings(start.roots),
        "pinComplete": {"BOOL": start.complete},
        "keyed": {"BOOL": start.keyed},
        "protocol": number(start.protocol),
    }
    if start.start_time is not None:
        item["floor"] = seconds(start.start_time)
    return item


def stream_start_row(item: Item) -> StreamStart:
    """A stream's row from its item. Version 0.1 wrote neither `keyed` nor `protocol`."""
    return StreamStart(
        stream_arn=item["streamArn"]["S"],
        start_time=_float(item, "floor"),
        roots=tuple(root["S"] for root in item[ROOTS if ROOTS in item else OLD_ROOTS]["L"]),
        complete=bool(item["pinComplete"]["BOOL"]),
        started_at=_float(item, "pinnedAt"),
        keyed=bool(item.get("keyed", {}).get("BOOL")),
        protocol=int(text(item, "protocol", "N") or 1),
    )


def ledger_of(items: Iterable[Item]) -> Ledger:
    """The rows of shards and of streams, and the accepted rules, among the items of the lease table."""
    rows, stream_starts, accepted = [], [], AcceptedRules()
    for item in items:
        key = item["leaseKey"]["S"]
        if key.startswith(SHARD_PREFIX):
            rows.append(lease_row(item))
        elif key.startswith(STREAM_PREFIX):
            stream_starts.append(stream_start_row(item))
        elif key == SOURCE_KEY:
            accepted = accepted_rules(item)
    return Ledger(tuple(rows), tuple(stream_starts), accepted)


def report_value(report: HeartbeatReport) -> dict[str, Any]:
    """A heartbeat as a worker's attribute of the `members` item."""
    return {
        "M": {
            "beat": number(report.number),
            "shards": number(report.shards),
            "behind": number(report.behind),
            "lagSeconds": seconds(report.lag_seconds),
            "asOf": seconds(report.as_of),
            "unknown": number(report.unknown),
            "protocol": number(report.protocol),
            **({"rules": number(report.rules)} if report.rules else {}),
            **({"late": {"S": " ".join(map(_late_text, report.late))}} if report.late else {}),
        }
    }


def _late_text(late: LateShard) -> str:
    """A shard's code, and its lag in whole seconds, rounded up; one that is not known ends in a question mark."""
    return f"{late.code}:{ceil(late.lag_seconds)}" + ("" if late.known else "?")


def _late_of(text: str) -> LateShard:
    code, _, lag = text.partition(":")
    return LateShard(code, float(lag.removesuffix("?")), not lag.endswith("?"))


def report_of(value: Item) -> HeartbeatReport:
    """A heartbeat from its attribute. Version 0.1 did not write its protocol, nor, at first, some of the counts."""
    fields = value["M"]
    return HeartbeatReport(
        number=int(fields["beat"]["N"]),
        shards=int(fields["shards"]["N"]),
        behind=int(text(fields, "behind", "N") or 0),
        lag_seconds=float(fields["lagSeconds"]["N"]),
        as_of=float(fields["asOf"]["N"]),
        unknown=int(text(fields, "unknown", "N") or 0),
        protocol=int(text(fields, "protocol", "N") or 1),
        late=tuple(map(_late_of, (text(fields, "late") or "").split())),
        rules=int(text(fields, "rules", "N") or 0),
    )


def members_of(item: Item) -> Members:
    """The `members` item; an empty one where there is none yet."""
    workers = {
        name.removeprefix(WORKER_PREFIX): report_of(value)
        for name, value in item.items()
        if name.startswith(WORKER_PREFIX)
    }
    return Members(int(text(item, "changes", "N") or 0), workers)


PROGRESS_SECONDS: Final = 7 * 86_400
"""A progress row expires so long after its replay began: for days the stream has had no record of its ranges."""
_RUNNING: Final = "running"
_FINISHED: Final = "finished"


def progress_key(shard: Shard, target: str) -> dict[str, Any]:
    """The key of a replay's progress row: one per shard and target table."""
    return lease_key(f"{REPLAY_PREFIX}{shard}#{target}")


def progress_item(progress: Progress) -> dict[str, Any]:
    """A replay's progress row as an item."""
    return {
        **progress_key(progress.shard, progress.target),
        EXPIRY: number(int(progress.started_at) + PROGRESS_SECONDS),
        "streamArn": {"S": progress.shard.stream_arn},
        "shardId": {"S": progress.shard.shard_id},
        "leaderboardTable": {"S": progress.target},
        "mode": {"S": progress.mode.value},
        "from": {"S": progress.range.first},
        "to": {"S": progress.range.last},
        "asked": {"S": progress.requested_last},
        "position": {"S": progress.position},
        "act": {"S": progress.replay_id},
        "runner": {"S": progress.runner},
        "startedBy": {"S": progress.who},
        "startedAt": seconds(progress.started_at),
        "state": {"S": _RUNNING if progress.running else _FINISHED},
        "games": number(progress.games),
        "skipped": number(progress.skipped),
        "done": strings(tuple(map(str, progress.done))),
    }


def progress_row(item: Item) -> Progress:
    """A replay's progress row from its item."""
    return Progress(
        shard=Shard(item["streamArn"]["S"], item["shardId"]["S"]),
        target=item["leaderboardTable"]["S"],
        mode=Mode(item["mode"]["S"]),
        range=Range(item["from"]["S"], item["to"]["S"]),
        requested_last=item["asked"]["S"],
        position=item["position"]["S"],
        replay_id=item["act"]["S"],
        runner=item["runner"]["S"],
        who=item["startedBy"]["S"],
        started_at=float(item["startedAt"]["N"]),
        running=text(item, "state") == _RUNNING,
        games=int(item["games"]["N"]),
        skipped=int(item["skipped"]["N"]),
        done=tuple(_range_of(done["S"]) for done in item["done"]["L"]),
    )


def _range_of(stored: str) -> Range:
    first, _, last = stored.partition("..")
    return Range(first, last)


def partition_of(name: str) -> dict[str, Any]:
    """Of a query of the quarantine table: one partition."""
    return {"KeyConditionExpression": "shardId = :name", "ExpressionAttributeValues": {":name": {"S": name}}}


def quarantine_key(partition: str, sort: str) -> dict[str, Any]:
    """The key of an item of the quarantine table."""
    return {"shardId": {"S": partition}, "sequenceNumber": {"S": sort}}


def binding_key(stream_arn: str) -> dict[str, Any]:
    """The key of a stream's table binding."""
    return quarantine_key(BINDING, label_of(stream_arn))


def binding_item(binding: TableBinding) -> dict[str, Any]:
    """A table binding as an item."""
    return {
        **binding_key(binding.stream_arn),
        "streamArn": {"S": binding.stream_arn},
        "leaseTable": {"S": binding.lease_table},
        "leaderboardTable": {"S": binding.leaderboard_table},
    }


def binding_row(item: Item) -> TableBinding:
    """A table binding from its item."""
    return TableBinding(item["streamArn"]["S"], item["leaseTable"]["S"], item["leaderboardTable"]["S"])


def gap_key(shard: Shard, checkpoint: str) -> dict[str, Any]:
    """The key of a shard's gap: one per checkpoint, however often the gap is found."""
    return quarantine_key(GAP, f"{shard}/{checkpoint}")


def gap(shard: Shard, checkpoint: str, found_at: float) -> dict[str, Any]:
    """The gap in a shard after a checkpoint, without the key."""
    return {
        "streamArn": {"S": shard.stream_arn},
        "shard": {"S": shard.shard_id},
        "from": {"S": checkpoint},
        "loss": {"S": "possible"},
        "foundAt": {"S": iso(found_at)},
    }


def stream_gap_key(stream_arn: str, predecessor: str) -> dict[str, Any]:
    """The key of the gap between two streams."""
    return quarantine_key(GAP, f"{label_of(stream_arn)}/{label_of(predecessor)}")


def stream_gap(stream_arn: str, predecessor: str, found_at: float) -> dict[str, Any]:
    """The gap between two streams, without the key: neither has what was written while no stream was on."""
    return {
        "streamArn": {"S": stream_arn},
        "from": {"S": label_of(predecessor)},
        "to": {"S": label_of(stream_arn)},
        "loss": {"S": "possible"},
        "foundAt": {"S": iso(found_at)},
    }


def gap_row(item: Item) -> Gap:
    """A gap of either kind from its item."""
    acknowledged = text(item, "acknowledgedAt")
    by, why = text(item, "acknowledgedBy") or "", text(item, "acknowledgeReason") or ""
    return Gap(
        item["streamArn"]["S"],
        text(item, "shard"),
        item["from"]["S"],
        text(item, "to"),
        text(item, "loss") or "possible",
        text(item, "foundAt") or "",
        Acknowledgement(by, acknowledged, why) if acknowledged is not None else None,
    )


_AUDIT_NAMES: Final = ("shardId", "sequenceNumber", "who", "at", "act", "target")


def audit_item(entry: AuditEntry) -> dict[str, Any]:
    """An audit entry as an item. Its key sorts by time; the same entry written twice is one item."""
    content = f"{entry.who}|{entry.action}|{entry.target}|{sorted(entry.detail.items())}"
    digest = hashlib.blake2b(content.encode(), digest_size=6).hexdigest()
    fields = {"who": entry.who, "at": iso(entry.at), "act": entry.action, "target": entry.target, **entry.detail}
    return {
        **quarantine_key(AUDIT, f"{iso(entry.at)}#{digest}"),
        **{name: {"S": value} for name, value in fields.items()},
    }


def audit_row(item: Item) -> dict[str, str]:
    """An audit entry as an operator reads it: `who`, `at`, `act` and `target`, then its own details."""
    names = [*_AUDIT_NAMES[2:], *sorted(name for name in item if name not in _AUDIT_NAMES)]
    return {name: text(item, name) or "" for name in names}
