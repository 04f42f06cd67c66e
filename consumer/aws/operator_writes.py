"""What operators' commands write besides quarantine: circuits, checkpoints, bindings, gaps, replays."""

from threading import Event
from typing import Any, Final

from consumer.aws.board import add_delta, read_row, refused_deltas, remove_mark, stored_row
from consumer.aws.items import (
    GAP,
    MEMBERS_KEY,
    NEW_QUARANTINE_ROW,
    NEW_ROW,
    NO_HALT,
    SOURCE_KEY,
    Action,
    Item,
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
    progress_item,
    progress_key,
    progress_row,
    quarantine_key,
    resumed_times,
    seconds,
    shard_key,
    text,
)
from consumer.aws.leases import read_members_item
from consumer.aws.rule_items import RULES_NAME, accepted_rules, rules_list
from consumer.aws.streams import date_of
from consumer.aws.transact import check_stream_start, put_new, transact, transact_or_lose
from consumer.aws.wire import call_with_retries, translated
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.audit import AuditEntry
from consumer.domain.leases import BindingChange, LeaseRow, Shard, TableNames
from consumer.domain.marks import StoredRow
from consumer.domain.membership import Members
from consumer.domain.operator_ports import AcceptedMark, Gap, GapChanged
from consumer.domain.records import Rules
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.domain.replies import Committed, Done, Lost, Refused, RowRefused


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


SAME_RULES: Final = "#rules = :before"
"""The list is as the operator saw it: of two who accept at once one is first."""


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


class DynamoRuleList:
    """The RuleList port over a boto3 client."""

    def __init__(self, client: Any, tables: TableNames) -> None:
        self._client = client
        self._tables = tables

    def accept(self, before: AcceptedRules, rules: Rules, audit_entry: AuditEntry) -> Done | Lost:
        """The list, the audit entry and the counter of changes; see operator_ports.RuleList."""
        after = AcceptedRules((*before.entries, rules))
        update = {
            "TableName": self._tables.leases,
            "Key": lease_key(SOURCE_KEY),
            "UpdateExpression": "SET #rules = :after",
            "ConditionExpression": SAME_RULES,
            "ExpressionAttributeNames": RULES_NAME,
            "ExpressionAttributeValues": {":before": rules_list(before), ":after": rules_list(after)},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        audit = put_audit_entry(self._tables.quarantine, audit_entry)
        cancelled = transact(self._client, [{"Update": update}, audit, count_change(self._tables.leases)])
        if cancelled is None:
            return Done()
        cancelled.require_failed_condition()
        return Done() if accepted_rules(cancelled.failed.get(0) or {}) == after else Lost(None)


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

    def read_row(self, player: str) -> StoredRow:
        """One GetItem; see operator_ports.Circuits."""
        return read_row(self._client, self._tables.leaderboard, player)

    def resume(
        self, row: LeaseRow, free_to: str | None, token: str, audit_entry: AuditEntry, mark: AcceptedMark | None = None
    ) -> Done | Lost | RowRefused:
        """The lease row, the audit entry, the counter of changes, and the mark; see operator_ports.Circuits."""
        actions = [
            self._close(row, free_to, token),
            put_audit_entry(self._tables.quarantine, audit_entry),
            count_change(self._tables.leases),
        ]
        if mark is not None:
            actions.append(remove_mark(self._tables.leaderboard, *mark))
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Done()
        cancelled.require_failed_condition()
        if 0 not in cancelled.failed:
            return RowRefused(stored_row(cancelled.failed[len(actions) - 1]))
        mine = text(cancelled.failed[0] or {}, "resumeAct") == token
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


RUNNER: Final = "runner = :me"
"""Fences: of two runs of a replay only the one that took the row over last continues."""
POSITION: Final = "#position = :previous"
"""Makes it exact: a batch counts only where the one before it ended, once."""
SAME_STATE: Final = "#state = :state"
"""The quarantine row has the state that the batch relies on."""


class DynamoReplays:
    """The Replays port over a boto3 client. Only the read is retried; it waits on `stop`."""

    def __init__(self, client: Any, tables: TableNames, stop: Event) -> None:
        self._client = client
        self._tables = tables
        self._stop = stop

    def progress(self, shard: Shard, target: str) -> Progress | None:
        """One consistent read; see operator_ports.Replays."""

        def read() -> Progress | None:
            key = progress_key(shard, target)
            item = self._client.get_item(TableName=self._tables.leases, Key=key, ConsistentRead=True).get("Item")
            return progress_row(item) if item else None

        return call_with_retries(read, self._stop)

    def put(self, before: Progress | None, after: Progress, audit_entry: AuditEntry) -> Done | Overtaken:
        """The row and the audit entry; see operator_ports.Replays."""
        put: dict[str, Any] = {"TableName": self._tables.leases, "Item": progress_item(after)}
        put |= _unchanged(before) if before is not None else {"ConditionExpression": NEW_ROW}
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        cancelled = transact(self._client, [{"Put": put}, put_audit_entry(self._tables.quarantine, audit_entry)])
        if cancelled is None:
            return Done()
        cancelled.require_failed_condition()
        found = _found(cancelled.failed.get(0))
        mine = found is not None and (found.runner, found.running) == (after.runner, after.running)
        return Done() if mine else Overtaken(found)

    def count(
        self, progress: Progress, batch: Batch, later: frozenset[str]
    ) -> Committed | Overtaken | Changed | Refused:
        """The row, the deltas and the checks; see operator_ports.Replays."""
        players = list(batch.unit.deltas)
        numbers = list(batch.states)
        actions = [self._advance(progress, progress.after(batch))]
        actions += [
            add_delta(progress.target, player, batch.unit.deltas[player], dated=player not in later)
            for player in players
        ]
        actions += [self._check_state(progress.shard, number, batch.states[number]) for number in numbers]
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Committed()
        if 0 in cancelled.failed:
            return Overtaken(_found(cancelled.failed[0]))
        changed = frozenset(numbers[index - 1 - len(players)] for index in cancelled.failed if index > len(players))
        return Changed(changed) if changed else refused_deltas(cancelled, players, batch.unit.deltas)

    def _advance(self, before: Progress, after: Progress) -> Action:
        update = {
            "TableName": self._tables.leases,
            "Key": progress_key(before.shard, before.target),
            "UpdateExpression": "SET #position = :last, games = :games, skipped = :skipped",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **_unchanged(before),
        }
        update["ExpressionAttributeValues"] |= {
            ":last": {"S": after.position},
            ":games": number(after.games),
            ":skipped": number(after.skipped),
        }
        return {"Update": update}

    def _check_state(self, shard: Shard, sequence_number: str, state: str) -> Action:
        return {
            "ConditionCheck": {
                "TableName": self._tables.quarantine,
                "Key": quarantine_key(shard.shard_id, sequence_number),
                "ConditionExpression": SAME_STATE,
                "ExpressionAttributeNames": {"#state": "state"},
                "ExpressionAttributeValues": {":state": {"S": state}},
            }
        }


def _unchanged(before: Progress) -> dict[str, Any]:
    return {
        "ConditionExpression": f"{RUNNER} AND {POSITION}",
        "ExpressionAttributeNames": {"#position": "position"},
        "ExpressionAttributeValues": {":me": {"S": before.runner}, ":previous": {"S": before.position}},
    }


def _found(item: Item | None) -> Progress | None:
    return progress_row(item) if item else None
