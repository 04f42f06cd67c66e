"""The lease table: pins, shards' rows and `members`. Every write is conditional."""

from typing import Any

from botocore.exceptions import ClientError

from consumer.aws.errors import code_of, translated
from consumer.aws.items import (
    BIRTH,
    FENCE,
    MEMBERS_KEY,
    SHARD_PREFIX,
    STREAM_PREFIX,
    WORKER_PREFIX,
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
    shard_key,
    stream_key,
    vouch_of,
    vouch_value,
)
from consumer.aws.transaction import transact
from consumer.domain.leases import Birth, Lease, LeaseRow, Members, Origin, Pin, Vouch
from consumer.domain.outcomes import Done, Ledger, Lost, Refused, Removed

CONDITION_FAILED = "ConditionalCheckFailedException"


class DynamoLeases:
    """The Ledgers and Membership ports over a boto3 client."""

    def __init__(self, client: Any, leases: str, leaderboard: str, quarantine: str) -> None:
        self._client = client
        self._leases = leases
        self._leaderboard = leaderboard
        self._quarantine = quarantine

    # --- ports.Ledgers ---

    @translated()
    def origin(self, stream_arn: str) -> Origin:
        """Pin and birth row in one read transaction: no writer can come between."""
        pin, birth = self._get_both(stream_arn)
        if pin is not None or birth is not None:
            return Origin(pin_row(pin) if pin else None, birth_row(birth) if birth else None)
        others = []
        for other in self._births():
            if other.stream_arn != stream_arn:
                pin, _ = self._get_both(other.stream_arn)
                others.append((other, pin is not None))
        return Origin(None, None, tuple(others))

    def pin(self, pin: Pin) -> Done | Lost:
        """Pin and birth row in one transaction, each only if absent."""
        birth = Birth(pin.stream_arn, self._leases, self._leaderboard)
        cancelled = transact(
            self._client,
            [
                _put(self._leases, pin_item(pin), "attribute_not_exists(leaseKey)"),
                _put(self._quarantine, birth_item(birth), "attribute_not_exists(shardId)"),
            ],
        )
        if cancelled is None:
            return Done()
        cancelled.only_conditions()
        return Lost(None)

    def plant(self, stream_arn: str, rows: tuple[LeaseRow, ...]) -> Done | Lost | Refused:
        """Root rows if absent, while the pin is incomplete: a late repetition must not bring back a row."""
        incomplete = {
            "TableName": self._leases,
            "Key": lease_key(stream_key(stream_arn)),
            "ConditionExpression": "pinComplete = :no",
            "ExpressionAttributeValues": {":no": {"BOOL": False}},
        }
        puts = [_put(self._leases, lease_item(row), "attribute_not_exists(leaseKey)") for row in rows]
        cancelled = transact(self._client, [{"ConditionCheck": incomplete}, *puts])
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

    @translated()
    def load(self) -> Ledger:
        """One consistent scan over all pages."""
        rows: list[LeaseRow] = []
        pins: list[Pin] = []
        pages = self._client.get_paginator("scan").paginate(TableName=self._leases, ConsistentRead=True)
        for item in (item for page in pages for item in page["Items"]):
            key = item["leaseKey"]["S"]
            if key.startswith(SHARD_PREFIX):
                rows.append(lease_row(item))
            elif key.startswith(STREAM_PREFIX):
                pins.append(pin_row(item))
        return Ledger(tuple(rows), tuple(pins))

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

    # --- ports.Membership ---

    def beat(self, owner: str, vouch: Vouch, *, joining: bool, bump: bool) -> Done | Removed:
        """One UpdateItem. Only a joining beat may put the worker in: a late one must not bring it back."""
        failed, _ = self._update(
            MEMBERS_KEY,
            "SET #worker = :vouch" + (" ADD changes :one" if bump else ""),
            None if joining else "attribute_exists(#worker)",
            {":vouch": vouch_value(vouch)} | ({":one": number(1)} if bump else {}),
            {"#worker": WORKER_PREFIX + owner},
        )
        return Removed() if failed else Done()

    @translated()
    def look(self) -> Members:
        """One consistent read."""
        answer = self._client.get_item(TableName=self._leases, Key=lease_key(MEMBERS_KEY), ConsistentRead=True)
        item: Item = answer.get("Item", {})
        workers = {
            name.removeprefix(WORKER_PREFIX): vouch_of(value)
            for name, value in item.items()
            if name.startswith(WORKER_PREFIX)
        }
        return Members(int(item.get("changes", {"N": "0"})["N"]), workers)

    def leave(self, owner: str) -> Done:
        """Takes the worker out, once."""
        self._take_out(owner, "attribute_exists(#worker)", {})
        return Done()

    def bury(self, owner: str, beat: int) -> Done:
        """Takes a worker out if it has not beaten since."""
        self._take_out(owner, "#worker.beat = :beat", {":beat": number(beat)})
        return Done()

    def _take_out(self, owner: str, condition: str, values: dict[str, Any]) -> None:
        self._update(
            MEMBERS_KEY,
            "REMOVE #worker ADD changes :one",
            condition,
            {":one": number(1), **values},
            {"#worker": WORKER_PREFIX + owner},
        )

    def _update(
        self,
        key: str,
        update: str,
        condition: str | None,
        values: dict[str, Any],
        names: dict[str, str] | None = None,
    ) -> tuple[bool, Item | None]:
        """Whether the condition failed, and the item: as it is then, or as it was found when it failed."""
        request: dict[str, Any] = {
            "TableName": self._leases,
            "Key": lease_key(key),
            "UpdateExpression": update,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW" if key != MEMBERS_KEY else "NONE",
        }
        if condition:
            request |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        if names:
            request["ExpressionAttributeNames"] = names
        with translated():
            try:
                return False, self._client.update_item(**request).get("Attributes")
            except ClientError as error:
                if code_of(error) == CONDITION_FAILED:
                    found: Item | None = error.response.get("Item")
                    return True, found
                raise

    def _get_both(self, stream_arn: str) -> tuple[Item | None, Item | None]:
        answer = self._client.transact_get_items(
            TransactItems=[
                {"Get": {"TableName": self._leases, "Key": lease_key(stream_key(stream_arn))}},
                {"Get": {"TableName": self._quarantine, "Key": birth_key(stream_arn)}},
            ]
        )
        pin, birth = (found.get("Item") for found in answer["Responses"])
        return pin or None, birth or None

    def _births(self) -> list[Birth]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._quarantine,
            ConsistentRead=True,
            KeyConditionExpression="shardId = :birth",
            ExpressionAttributeValues={":birth": {"S": BIRTH}},
        )
        return [birth_row(item) for page in pages for item in page["Items"]]


def _put(table: str, item: dict[str, Any], condition: str) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": condition}}
