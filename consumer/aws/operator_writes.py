"""What operators' commands write to leases and table bindings: each action one transaction with its audit entry."""

from typing import Any, Final

from consumer.aws.errors import translated
from consumer.aws.items import (
    GAP,
    MEMBERS_KEY,
    NEW_QUARANTINE_ROW,
    NO_HALT,
    Action,
    audit_item,
    binding_item,
    binding_key,
    gap_row,
    iso,
    lease_item,
    lease_key,
    members_of,
    number,
    owned_by,
    quarantine_key,
    resumed_times,
    seconds,
    shard_key,
    text,
)
from consumer.aws.leases import read_members_item
from consumer.aws.streams import date_of
from consumer.aws.transact import check_stream_start, put_new, transact, transact_or_lose
from consumer.domain.audit import AuditEntry
from consumer.domain.leases import BindingChange, LeaseRow, TableNames
from consumer.domain.membership import Members
from consumer.domain.operator_ports import Gap, GapChanged
from consumer.domain.replies import Done, Lost


def put_audit_entry(quarantine: str, entry: AuditEntry) -> Action:
    """Every operator action has one."""
    return {"Put": {"TableName": quarantine, "Item": audit_item(entry)}}


def count_change(leases: str) -> Action:
    """Raises the members' counter of changes: workers then load the lease table at once."""
    return {
        "Update": {
            "TableName": leases,
            "Key": lease_key(MEMBERS_KEY),
            "UpdateExpression": "ADD changes :one",
            "ExpressionAttributeValues": {":one": number(1)},
        }
    }


class DynamoTableBindings:
    """The TableBindings port over a boto3 client."""

    def __init__(self, client: Any, tables: TableNames) -> None:
        self._client = client
        self._tables = tables

    def change_binding(self, change: BindingChange, audit_entry: AuditEntry) -> Done | Lost:
        """The binding, under the condition that the stream's row is as it was; see operator_ports.TableBindings."""
        actions = [
            self._change(change),
            # A worker may have started the stream in the meantime, or the lease table may have been restored.
            check_stream_start(self._tables.leases, change.stream_arn, started=change.has_stream_start),
            put_audit_entry(self._tables.quarantine, audit_entry),
        ]
        return transact_or_lose(self._client, actions)

    def _change(self, change: BindingChange) -> Action:
        condition: dict[str, Any] = {"ConditionExpression": NEW_QUARANTINE_ROW}
        if change.before is not None:
            condition = {
                "ConditionExpression": "leaseTable = :lease AND leaderboardTable = :leaderboard",
                "ExpressionAttributeValues": {
                    ":lease": {"S": change.before.lease_table},
                    ":leaderboard": {"S": change.before.leaderboard_table},
                },
            }
        table = {"TableName": self._tables.quarantine, **condition}
        if change.after is None:
            return {"Delete": {**table, "Key": binding_key(change.stream_arn)}}
        return {"Put": {**table, "Item": binding_item(change.after)}}


UNACKNOWLEDGED: Final = "attribute_exists(shardId) AND attribute_not_exists(acknowledgedAt)"
"""Of two operators one acknowledges a gap, and a row that is gone is not made again."""


class DynamoGaps:
    """The Gaps port over a boto3 client."""

    def __init__(self, client: Any, tables: TableNames) -> None:
        self._client = client
        self._quarantine = tables.quarantine

    def acknowledge(self, gap: Gap, why: str, token: str, audit_entry: AuditEntry) -> Done | GapChanged:
        """The gap's row and the audit entry; see operator_ports.Gaps."""
        update = {
            "TableName": self._quarantine,
            "Key": quarantine_key(GAP, gap.name),
            "UpdateExpression": "SET acknowledgedAt = :at, acknowledgedBy = :by, acknowledgeReason = :why, act = :act",
            "ConditionExpression": UNACKNOWLEDGED,
            "ExpressionAttributeValues": {
                ":at": {"S": iso(audit_entry.at)},
                ":by": {"S": audit_entry.who},
                ":why": {"S": why},
                ":act": {"S": token},
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        cancelled = transact(self._client, [{"Update": update}, put_audit_entry(self._quarantine, audit_entry)])
        if cancelled is None:
            return Done()
        cancelled.require_failed_condition()
        row = cancelled.failed.get(0)
        if row and text(row, "act") == token:
            return Done()  # this very action, whose reply was lost
        return GapChanged(gap_row(row) if row else None)


SAME_HALT: Final = "haltedAt = :halted"
"""Without it a row that was deleted, made again and halted again would pass: it counts its resumes from zero."""


class DynamoCircuits:
    """The Circuits port over a boto3 client."""

    def __init__(self, client: Any, tables: TableNames) -> None:
        self._client = client
        self._tables = tables

    def resume(self, row: LeaseRow, free_to: str | None, token: str, audit_entry: AuditEntry) -> Done | Lost:
        """The lease row, the audit entry and the counter of changes; see operator_ports.Circuits."""
        actions = [
            self._close(row, free_to, token),
            put_audit_entry(self._tables.quarantine, audit_entry),
            count_change(self._tables.leases),
        ]
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Done()
        cancelled.require_failed_condition()
        mine = text(cancelled.failed.get(0) or {}, "resumeAct") == token
        return Done() if mine else cancelled.lost

    def _close(self, row: LeaseRow, free_to: str | None, token: str) -> Action:
        resumes = row.circuit.resumes
        unresumed, values = resumed_times(resumes)
        halted_at = row.circuit.halted_at or 0.0  # no row is halted since 1970
        values |= {":next": number(resumes + 1), ":act": {"S": token}, ":halted": seconds(halted_at)}
        expression = "SET resumes = :next, resumeAct = :act"
        if free_to is not None:
            expression += ", freeTo = :to"
            values[":to"] = {"S": free_to}
        return {
            "Update": {
                "TableName": self._tables.leases,
                "Key": lease_key(shard_key(row.shard)),
                "UpdateExpression": f"{expression} REMOVE {NO_HALT}, recentPoison",
                "ConditionExpression": f"{SAME_HALT} AND {unresumed}",
                "ExpressionAttributeValues": values,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }


UNCHANGED: Final = "leaseEpoch = :epoch AND checkpoint = :previous"
"""With the owner: no worker has claimed or committed since the row was read, and no operator has changed it."""


class DynamoLeaseAdmin:
    """The LeaseAdmin port over a boto3 client."""

    def __init__(self, client: Any, tables: TableNames) -> None:
        self._client = client
        self._tables = tables

    def read_members(self) -> tuple[Members, float]:
        """One consistent read; see operator_ports.LeaseAdmin."""
        with translated():
            reply = read_members_item(self._client, self._tables.leases)
            return members_of(reply.get("Item", {})), date_of(reply)

    def place(self, before: LeaseRow | None, after: LeaseRow, audit_entry: AuditEntry) -> Done | Lost:
        """The lease row, the audit entry and the counter of changes; see operator_ports.LeaseAdmin."""
        actions = [
            self._put(after) if before is None else self._move(before, after),
            put_audit_entry(self._tables.quarantine, audit_entry),
            count_change(self._tables.leases),
        ]
        if before is None:
            # A late repetition must not write into a lease table that was emptied since: its row would be the only one.
            actions.append(check_stream_start(self._tables.leases, after.shard.stream_arn, started=True))
        return transact_or_lose(self._client, actions)

    def _put(self, after: LeaseRow) -> Action:
        action = put_new(self._tables.leases, lease_item(after))
        action["Put"]["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return action

    def _move(self, before: LeaseRow, after: LeaseRow) -> Action:
        """Changes owner, epoch, checkpoint and circuit only; lineage and notes in the row stay."""
        owned, values = owned_by(before.owner)
        values |= {
            ":epoch": number(before.epoch),
            ":previous": {"S": before.checkpoint},
            ":new": number(after.epoch),
            ":position": {"S": after.checkpoint},
            ":resumes": number(after.circuit.resumes),
        }
        expression = "SET checkpoint = :position, leaseEpoch = :new, resumes = :resumes"
        if after.created is not None:
            expression += ", checkpointCreatedAt = :created"
            values[":created"] = seconds(after.created)
        return {
            "Update": {
                "TableName": self._tables.leases,
                "Key": lease_key(shard_key(before.shard)),
                "UpdateExpression": f"{expression} REMOVE leaseOwner, {NO_HALT}, recentPoison, freeTo",
                "ConditionExpression": f"{owned} AND {UNCHANGED}",
                "ExpressionAttributeValues": values,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
