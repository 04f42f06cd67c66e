"""The lease table: pins and shards' rows. Every write is conditional."""

from dataclasses import replace
from typing import Any, Final

from consumer.aws.adapters import WorkerAdapter
from consumer.aws.errors import translated
from consumer.aws.gaps import fill, stream_gap, stream_gap_key
from consumer.aws.items import (
    FENCE,
    NEW_ROW,
    Item,
    birth_item,
    birth_key,
    birth_row,
    fence_values,
    lease_item,
    lease_key,
    lease_row,
    number,
    pin_item,
    pin_row,
    seconds,
    shard_key,
    stream_key,
    strings,
)
from consumer.aws.rows import BIRTHS, ledger_of
from consumer.aws.transaction import Action, transact
from consumer.aws.update import update
from consumer.domain.leases import Adoption, Birth, Lease, LeaseRow, Origin, Pin
from consumer.domain.outcomes import Done, Ledger, Lost, Refused
from consumer.domain.position import SHARD_END

FINISHED: Final = "checkpoint = :end"
_END: Final = {":end": {"S": SHARD_END}}


class DynamoLeases(WorkerAdapter):
    """The Ledgers port over a boto3 client."""

    # --- streams ---

    @translated()
    def origin(self, stream_arn: str) -> Origin:
        """Pin and birth row in one read transaction: no writer can come between."""
        pin, birth = self._get_both(stream_arn)
        origin = Origin(pin, birth)
        if not origin.begins:
            return origin
        births = [birth for birth in self._births() if birth.stream_arn != stream_arn]
        return replace(origin, others=tuple((birth, self._get_both(birth.stream_arn)[0]) for birth in births))

    def pin(self, pin: Pin, predecessor: str | None, found_at: float) -> Done | Lost:
        """Pin and birth row in one transaction, each only if absent; with them the gap that a predecessor leaves."""
        birth = Birth(pin.stream_arn, self._leases, self._leaderboard)
        # When it was found makes it a request of its own: after `init --adopt` the one before may be minutes old.
        actions = [
            _put(self._leases, {**pin_item(pin), "pinnedAt": seconds(found_at)}, NEW_ROW),
            _put(self._quarantine, birth_item(birth), "attribute_not_exists(shardId)"),
        ]
        if predecessor is not None:
            key = stream_gap_key(pin.stream_arn, predecessor)
            actions.append(fill(self._quarantine, key, stream_gap(pin.stream_arn, predecessor, found_at)))
        return self._all_or_nothing(actions)

    def plant(self, stream_arn: str, rows: tuple[LeaseRow, ...]) -> Done | Lost | Refused:
        """Root rows if absent, while the pin is incomplete: a late repetition must not bring back a row."""
        incomplete = {
            "TableName": self._leases,
            "Key": lease_key(stream_key(stream_arn)),
            "ConditionExpression": "pinComplete = :no",
            "ExpressionAttributeValues": {":no": {"BOOL": False}},
        }
        cancelled = transact(self._client, [{"ConditionCheck": incomplete}, *map(self._put_new, rows)])
        if cancelled is None:
            return Done()
        cancelled.only_conditions()
        if 0 in cancelled.failed:
            return Lost(None)
        return Refused(existing=frozenset(rows[index - 1].shard.shard_id for index in cancelled.failed))

    def complete_pin(self, stream_arn: str) -> Done:
        """Marks the pin complete; a pin that is gone is not made again."""
        self._update(
            stream_key(stream_arn), "SET pinComplete = :yes", "attribute_exists(leaseKey)", {":yes": {"BOOL": True}}
        )
        return Done()

    # --- shards ---

    def adopt(self, adoption: Adoption) -> Done | Lost:
        """The list, if it is as it was read, and the rows, if they are absent: a shard is counted in once."""
        into, before, after = adoption.into, adoption.before, adoption.after
        joined = self._relist_roots(into, after) if isinstance(into, Pin) else self._relist(into, before, after)
        return self._all_or_nothing([joined, *map(self._put_new, adoption.rows)])

    def mark(self, row: LeaseRow, unlisted_since: float | None) -> Done:
        """Of several workers' notes the first one stays; what another has noted since is not taken away."""
        key = shard_key(row.shard)
        if unlisted_since is not None:
            condition = f"{FINISHED} AND attribute_not_exists(unlistedSince)"
            self._update(key, "SET unlistedSince = :since", condition, {**_END, ":since": seconds(unlisted_since)})
        elif row.unlisted_since is not None:
            values = {":since": seconds(row.unlisted_since)}
            self._update(key, "REMOVE unlistedSince", "unlistedSince = :since", values)
        return Done()

    def forget(self, row: LeaseRow, pin: Pin | None) -> Done | Lost:
        """The row, while its note and its children are those that were read, and its place among the pin's roots."""
        if row.unlisted_since is None:
            return Lost(None)
        delete = {
            "TableName": self._leases,
            "Key": lease_key(shard_key(row.shard)),
            "ConditionExpression": f"{FINISHED} AND unlistedSince = :since AND {_unchanged(row.children)}",
            "ExpressionAttributeValues": {
                **_END,
                ":since": seconds(row.unlisted_since),
                ":before": strings(row.children),
            },
        }
        actions: list[Action] = [{"Delete": delete}]
        if pin is not None:
            left = tuple(root for root in pin.roots if root != row.shard.shard_id)
            actions.append(self._relist_roots(pin, left))
        return self._all_or_nothing(actions)

    @translated()
    def load(self) -> Ledger:
        """One consistent scan over all pages."""
        pages = self._client.get_paginator("scan").paginate(TableName=self._leases, ConsistentRead=True)
        return ledger_of(item for page in pages for item in page["Items"])

    @translated()
    def claim(self, row: LeaseRow, lease: Lease) -> LeaseRow | Lost:
        """Owner and epoch in one write, if nobody was faster; the epoch only grows."""
        held = "leaseOwner = :owner" if row.owner is not None else "attribute_not_exists(leaseOwner)"
        values = {":me": {"S": lease.owner}, ":new": number(lease.epoch), ":epoch": number(row.epoch)}
        if row.owner is not None:
            values[":owner"] = {"S": row.owner}
        failed, item = self._update(
            shard_key(row.shard), "SET leaseOwner = :me, leaseEpoch = :new", f"{held} AND leaseEpoch = :epoch", values
        )
        if failed:
            return Lost(lease_row(item) if item else None)
        return lease_row(item or {})

    def release(self, lease: Lease) -> Done:
        """Takes the owner away; the epoch stays, the next claim raises it."""
        self._update(shard_key(lease.shard), "REMOVE leaseOwner", FENCE, fence_values(lease))
        return Done()

    def _update(self, key: str, expression: str, condition: str, values: dict[str, Any]) -> tuple[bool, Item | None]:
        return update(self._client, self._leases, key, expression, condition, values)

    def _all_or_nothing(self, actions: list[Action]) -> Done | Lost:
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Done()
        cancelled.only_conditions()
        return Lost(None)

    def _put_new(self, row: LeaseRow) -> Action:
        return _put(self._leases, lease_item(row), NEW_ROW)

    def _relist(self, parent: LeaseRow, before: tuple[str, ...], after: tuple[str, ...]) -> Action:
        """A finished shard's children."""
        return {
            "Update": {
                "TableName": self._leases,
                "Key": lease_key(shard_key(parent.shard)),
                "UpdateExpression": "SET childShardIds = :after",
                "ConditionExpression": f"{FINISHED} AND {_unchanged(before)}",
                "ExpressionAttributeValues": {**_END, ":before": strings(before), ":after": strings(after)},
            }
        }

    def _relist_roots(self, pin: Pin, after: tuple[str, ...]) -> Action:
        """A complete pin's roots: before, they are being planted."""
        values = {":before": strings(pin.roots), ":after": strings(after), ":yes": {"BOOL": True}}
        return {
            "Update": {
                "TableName": self._leases,
                "Key": lease_key(stream_key(pin.stream_arn)),
                "UpdateExpression": "SET rootShardIds = :after",
                "ConditionExpression": "rootShardIds = :before AND pinComplete = :yes",
                "ExpressionAttributeValues": values,
            }
        }

    def _get_both(self, stream_arn: str) -> tuple[Pin | None, Birth | None]:
        answer = self._client.transact_get_items(
            TransactItems=[
                {"Get": {"TableName": self._leases, "Key": lease_key(stream_key(stream_arn))}},
                {"Get": {"TableName": self._quarantine, "Key": birth_key(stream_arn)}},
            ]
        )
        pin, birth = (found.get("Item") for found in answer["Responses"])
        return pin_row(pin) if pin else None, birth_row(birth) if birth else None

    def _births(self) -> list[Birth]:
        pages = self._client.get_paginator("query").paginate(TableName=self._quarantine, ConsistentRead=True, **BIRTHS)
        return [birth_row(item) for page in pages for item in page["Items"]]


def _put(table: str, item: dict[str, Any], condition: str) -> Action:
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": condition}}


def _unchanged(children: tuple[str, ...]) -> str:
    """The list of children is as it was read. An empty one may be stored as such, or not at all."""
    same = "childShardIds = :before"
    return same if children else f"(attribute_not_exists(childShardIds) OR {same})"
