"""The lease table: the rows of streams and shards, and the `members` item. Every write is conditional."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from consumer.aws.items import (
    BINDING,
    FENCE,
    MEMBERS_KEY,
    NEW_QUARANTINE_ROW,
    OLD_ROOTS,
    ROOTS,
    SOURCE_KEY,
    WORKER_PREFIX,
    Action,
    Item,
    binding_item,
    binding_key,
    binding_row,
    fence_values,
    lease_item,
    lease_key,
    lease_row,
    ledger_of,
    members_of,
    number,
    owned_by,
    partition_of,
    report_value,
    seconds,
    shard_key,
    stream_gap,
    stream_gap_key,
    stream_key,
    stream_start_item,
    stream_start_row,
    strings,
)
from consumer.aws.rule_items import RULES_NAME, accepted_rules, rules_list, windows_value
from consumer.aws.transact import put_new, set_missing, transact, transact_or_lose, update_item
from consumer.aws.wire import translated
from consumer.domain.accepted_rules import AcceptedRules, Reading
from consumer.domain.leases import (
    PROTOCOL,
    SHARD_END,
    Adoption,
    Lease,
    LeaseRow,
    Ledger,
    Origin,
    StreamStart,
    TableBinding,
    TableNames,
    table_arn_of,
)
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.records import Rules
from consumer.domain.replies import Done, HeartbeatRemoved, Lost, Refused

FINISHED: Final = "checkpoint = :end"
_END: Final = {":end": {"S": SHARD_END}}


class DynamoLeases:
    """The Ledgers port over a boto3 client: streams first, then shards."""

    def __init__(self, client: Any, tables: TableNames) -> None:
        self._client = client
        self._tables = tables

    @translated()
    def read_origin(self, stream_arn: str) -> Origin:
        """One read transaction for the stream's row, its binding and the rules: no writer can come between.

        While the stream is starting, the whole lease table too: another source may have bindings elsewhere.
        """
        start, binding, accepted = self._read_stream(stream_arn)
        origin = Origin(start, binding, accepted=accepted)
        if not origin.starting:
            return origin
        rows = list(self._scan())
        ledger = ledger_of(rows)
        known = {table_arn_of(start.stream_arn) for start in ledger.stream_starts}
        known |= {row["sourceTable"]["S"] for row in rows if row["leaseKey"]["S"] == SOURCE_KEY}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._tables.quarantine, ConsistentRead=True, **partition_of(BINDING)
        )
        bindings = [binding_row(item) for page in pages for item in page["Items"]]
        others = [binding for binding in bindings if binding.stream_arn != stream_arn]
        starts = tuple((other, self._read_stream(other.stream_arn)[0]) for other in others)
        readings = tuple(row.reading for row in ledger.rows)
        return replace(origin, others=starts, source_tables=frozenset(known), readings=readings)

    def record_stream_start(
        self, start: StreamStart, predecessor: str | None, found_at: float, rules: Rules | None = None
    ) -> Done | Lost:
        """The stream's row and its binding, each only if absent, and the gap that a predecessor leaves.

        With the ledger's first rules goes the name of its source table: of two sources, or two sets of rules, that
        start at once one is first.
        """
        binding = TableBinding(start.stream_arn, self._tables.leases, self._tables.leaderboard)
        # The time makes it a request of its own: before an `init --adopt` the same content may have been sent.
        actions = [
            put_new(self._tables.leases, {**stream_start_item(start), "pinnedAt": seconds(found_at)}),
            put_new(self._tables.quarantine, binding_item(binding), NEW_QUARANTINE_ROW),
        ]
        if predecessor is not None:
            key = stream_gap_key(start.stream_arn, predecessor)
            gap = stream_gap(start.stream_arn, predecessor, found_at)
            actions.append(set_missing(self._tables.quarantine, key, gap))
        if rules is not None:
            actions.append({"Update": self._first_rules(start.stream_arn, rules)})
        return transact_or_lose(self._client, actions)

    def create_root_rows(self, stream_arn: str, rows: tuple[LeaseRow, ...]) -> Done | Lost | Refused:
        """Rows if absent, while the stream's start is incomplete: a late repetition must not bring back a row."""
        incomplete = {
            "TableName": self._tables.leases,
            "Key": lease_key(stream_key(stream_arn)),
            "ConditionExpression": "pinComplete = :no",
            "ExpressionAttributeValues": {":no": {"BOOL": False}},
        }
        cancelled = transact(self._client, [{"ConditionCheck": incomplete}, *map(self._put_new, rows)])
        if cancelled is None:
            return Done()
        cancelled.require_failed_condition()
        if 0 in cancelled.failed:
            return Lost(None)
        return Refused(existing=frozenset(rows[index - 1].shard.shard_id for index in cancelled.failed))

    def complete_stream_start(self, stream_arn: str) -> Done:
        """A stream's row that was deleted is not made again."""
        self._update(
            stream_key(stream_arn), "SET pinComplete = :yes", "attribute_exists(leaseKey)", {":yes": {"BOOL": True}}
        )
        return Done()

    def upgrade_stream(self, stream_arn: str, *, keyed: bool | None, rules: Rules | None = None) -> Done | Lost:
        """The stream's row, if it is as version 0.1 wrote it, and the first rules, if there are none.

        See ports.Ledgers.
        """
        row = {
            "TableName": self._tables.leases,
            "Key": lease_key(stream_key(stream_arn)),
            "UpdateExpression": f"SET {ROOTS} = {OLD_ROOTS}, keyed = :keyed, protocol = :protocol REMOVE {OLD_ROOTS}",
            "ConditionExpression": f"attribute_exists({OLD_ROOTS})",
            "ExpressionAttributeValues": {":keyed": {"BOOL": keyed}, ":protocol": number(PROTOCOL)},
        }
        updates = [] if keyed is None else [row]
        if rules is not None:
            updates.append(self._first_rules(stream_arn, rules))
        return transact_or_lose(self._client, [{"Update": update} for update in updates])

    def adopt(self, adoption: Adoption) -> Done | Lost:
        """The list, if it is as it was read, and the rows, if they are absent: a shard is adopted once."""
        into = adoption.into
        if isinstance(into, StreamStart):
            list_action = self._set_roots(into, adoption.after)
        else:
            list_action = self._set_children(into, adoption.after)
        return transact_or_lose(self._client, [list_action, *map(self._put_new, adoption.rows)])

    def mark_unlisted(self, row: LeaseRow, unlisted_since: float | None) -> Done:
        """The first worker's note stays; only the note that was read is removed."""
        key = shard_key(row.shard)
        if unlisted_since is not None:
            condition = f"{FINISHED} AND attribute_not_exists(unlistedSince)"
            self._update(key, "SET unlistedSince = :since", condition, {**_END, ":since": seconds(unlisted_since)})
        elif row.unlisted_since is not None:
            values = {":since": seconds(row.unlisted_since)}
            self._update(key, "REMOVE unlistedSince", "unlistedSince = :since", values)
        return Done()

    def forget(self, row: LeaseRow, start: StreamStart | None) -> Done | Lost:
        """Deletes the row, if its note and its children are as they were read, and takes it out of the roots."""
        if row.unlisted_since is None:
            return Lost(None)
        delete = {
            "TableName": self._tables.leases,
            "Key": lease_key(shard_key(row.shard)),
            "ConditionExpression": f"{FINISHED} AND unlistedSince = :since AND {_same_children(row)}",
            "ExpressionAttributeValues": {
                **_END,
                ":since": seconds(row.unlisted_since),
                ":before": strings(row.children),
            },
        }
        actions: list[Action] = [{"Delete": delete}]
        if start is not None:
            actions.append(self._set_roots(start, start.without(row.shard.shard_id).roots))
        return transact_or_lose(self._client, actions)

    @translated()
    def load(self) -> Ledger:
        """One consistent scan over all pages."""
        return ledger_of(self._scan())

    @translated()
    def claim(self, row: LeaseRow, lease: Lease, reading: Reading) -> LeaseRow | Lost:
        """Owner, epoch and rules in one write, if no other worker changed them first; the epoch only grows.

        Each change of the rules raises the epoch too, so this condition also keeps their number from going down.
        """
        owned, values = owned_by(row.owner)
        values |= {":me": {"S": lease.owner}, ":new": number(lease.epoch), ":epoch": number(row.epoch)}
        values |= {":rules": number(reading.rules), ":windows": windows_value(reading.windows)}
        failed, item = self._update(
            shard_key(row.shard),
            "SET leaseOwner = :me, leaseEpoch = :new, #rules = :rules, windows = :windows",
            f"{owned} AND leaseEpoch = :epoch",
            values,
            RULES_NAME,
        )
        if failed:
            return Lost(lease_row(item) if item else None)
        return lease_row(item or {})

    def release(self, lease: Lease) -> Done:
        """Removes the owner; the epoch stays, and the next claim raises it."""
        self._update(shard_key(lease.shard), "REMOVE leaseOwner", FENCE, fence_values(lease))
        return Done()

    def _scan(self) -> Iterator[Item]:
        pages = self._client.get_paginator("scan").paginate(TableName=self._tables.leases, ConsistentRead=True)
        return (item for page in pages for item in page["Items"])

    def _first_rules(self, stream_arn: str, rules: Rules) -> dict[str, Any]:
        """The source row: the stream's table, and the first rules."""
        return {
            "TableName": self._tables.leases,
            "Key": lease_key(SOURCE_KEY),
            "UpdateExpression": "SET sourceTable = if_not_exists(sourceTable, :table), #rules = :rules",
            "ConditionExpression": "attribute_not_exists(#rules)",
            "ExpressionAttributeNames": RULES_NAME,
            "ExpressionAttributeValues": {
                ":table": {"S": table_arn_of(stream_arn)},
                ":rules": rules_list(AcceptedRules((rules,))),
            },
        }

    def _update(
        self,
        key: str,
        expression: str,
        condition: str,
        values: dict[str, Any],
        names: Mapping[str, str] | None = None,
    ) -> tuple[bool, Item | None]:
        return update_item(self._client, self._tables.leases, key, expression, condition, values, names)

    def _put_new(self, row: LeaseRow) -> Action:
        return put_new(self._tables.leases, lease_item(row))

    def _set_children(self, parent: LeaseRow, after: tuple[str, ...]) -> Action:
        """Of a finished shard."""
        return {
            "Update": {
                "TableName": self._tables.leases,
                "Key": lease_key(shard_key(parent.shard)),
                "UpdateExpression": "SET childShardIds = :after",
                "ConditionExpression": f"{FINISHED} AND {_same_children(parent)}",
                "ExpressionAttributeValues": {**_END, ":before": strings(parent.children), ":after": strings(after)},
            }
        }

    def _set_roots(self, start: StreamStart, after: tuple[str, ...]) -> Action:
        """Of a complete stream start: until then workers create the root rows.

        The row of an earlier stream may still be as version 0.1 wrote it.
        """
        roots = ROOTS if start.protocol == PROTOCOL else OLD_ROOTS
        values = {":before": strings(start.roots), ":after": strings(after), ":yes": {"BOOL": True}}
        return {
            "Update": {
                "TableName": self._tables.leases,
                "Key": lease_key(stream_key(start.stream_arn)),
                "UpdateExpression": f"SET {roots} = :after",
                "ConditionExpression": f"{roots} = :before AND pinComplete = :yes",
                "ExpressionAttributeValues": values,
            }
        }

    def _read_stream(self, stream_arn: str) -> tuple[StreamStart | None, TableBinding | None, AcceptedRules]:
        reply = self._client.transact_get_items(
            TransactItems=[
                {"Get": {"TableName": self._tables.leases, "Key": lease_key(stream_key(stream_arn))}},
                {"Get": {"TableName": self._tables.quarantine, "Key": binding_key(stream_arn)}},
                {"Get": {"TableName": self._tables.leases, "Key": lease_key(SOURCE_KEY)}},
            ]
        )
        start, binding, source = (response.get("Item") for response in reply["Responses"])
        return (
            stream_start_row(start) if start else None,
            binding_row(binding) if binding else None,
            accepted_rules(source or {}),
        )


def _same_children(row: LeaseRow) -> str:
    """The list of children is as it was read. An empty list may be stored as such, or not at all."""
    same = "childShardIds = :before"
    return same if row.children else f"(attribute_not_exists(childShardIds) OR {same})"


class DynamoMembership:
    """The Membership port over a boto3 client."""

    def __init__(self, client: Any, tables: TableNames) -> None:
        self._client = client
        self._leases = tables.leases

    def send_heartbeat(
        self, owner: str, report: HeartbeatReport, *, joining: bool, bump: bool
    ) -> Done | HeartbeatRemoved:
        """One UpdateItem. Only a joining heartbeat may add the worker: a late one must not bring it back."""
        failed = self._update(
            owner,
            "SET #worker = :vouch" + (" ADD changes :one" if bump else ""),
            None if joining else "attribute_exists(#worker)",
            {":vouch": report_value(report)} | ({":one": number(1)} if bump else {}),
        )
        return HeartbeatRemoved() if failed else Done()

    @translated()
    def read_members(self) -> Members:
        """One consistent read."""
        return members_of(read_members_item(self._client, self._leases).get("Item", {}))

    def leave(self, owner: str) -> Done:
        """Removes the worker, once."""
        self._remove(owner, "attribute_exists(#worker)", {})
        return Done()

    def evict(self, owner: str, heartbeat: int) -> Done:
        """Removes the worker, unless it has sent another heartbeat since."""
        self._remove(owner, "#worker.beat = :beat", {":beat": number(heartbeat)})
        return Done()

    def _remove(self, owner: str, condition: str, values: dict[str, Any]) -> None:
        self._update(owner, "REMOVE #worker ADD changes :one", condition, {":one": number(1), **values})

    def _update(self, owner: str, expression: str, condition: str | None, values: dict[str, Any]) -> bool:
        """Whether the condition failed."""
        names = {"#worker": WORKER_PREFIX + owner}
        failed, _ = update_item(
            self._client, self._leases, MEMBERS_KEY, expression, condition, values, names, returning=False
        )
        return failed


def read_members_item(client: Any, leases: str) -> dict[str, Any]:
    """The reply to a consistent read of the `members` item."""
    reply: dict[str, Any] = client.get_item(TableName=leases, Key=lease_key(MEMBERS_KEY), ConsistentRead=True)
    return reply
