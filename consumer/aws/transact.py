"""Conditional writes: transactions and single updates, what their replies mean, and the actions that several need.

A transaction's client token is the hash of its content. The same content sent again is the same request to DynamoDB;
other content is another request.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from consumer.aws.items import NEW_ROW, Action, Item, lease_key, lease_row, stream_key
from consumer.aws.wire import KIND_OF_CODE, code_of, encode_json, reasons_of, translated
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.replies import Done, Lost

CONDITION_FAILED: Final = "ConditionalCheckFailed"
INVALID: Final = "ValidationError"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nothing was written. `failed`: index of an action whose condition failed -> its item (None: not returned).

    `invalid`: what the database will always refuse; `invalid_at`: the actions that it names for that, often none.
    """

    failed: Mapping[int, Mapping[str, Any] | None]
    conflict: bool
    invalid: str | None
    invalid_at: frozenset[int] = frozenset()

    @property
    def lost(self) -> Lost:
        """For transactions that begin with an action on a shard's row: the row as it is, as far as it was returned."""
        item = self.failed.get(0)
        return Lost(lease_row(item) if item else None)

    def require_failed_condition(self) -> None:
        """Raises CallFailed unless a condition failed: then the same transaction is worth a retry."""
        if not self.failed:
            self.raise_conflict()
            raise CallFailed(FailureKind.REJECTED, self.invalid or INVALID)

    def raise_conflict(self) -> None:
        """Raises CallFailed if another transaction held a row."""
        if self.conflict:
            raise CallFailed(FailureKind.CONFLICT, self.invalid or "another transaction holds a row of this one")


def transact(client: Any, actions: list[Action], token: str | None = None) -> Cancelled | None:
    """Writes all of `actions` or nothing; None when they are written. `token`: instead of the hash of the content.

    Raises CallFailed when the outcome is unknown, or when only infrastructure failed (throttling, permissions).
    """
    token = token or token_of(actions)
    with translated():
        try:
            client.transact_write_items(TransactItems=actions, ClientRequestToken=token)
        except ClientError as error:
            match code_of(error):
                case "TransactionCanceledException":
                    return _cancelled(error)
                case "ValidationException":
                    return Cancelled({}, conflict=False, invalid=str(error.response["Error"].get("Message", "")))
            raise
    return None


def transact_or_lose(client: Any, actions: list[Action]) -> Done | Lost:
    """Writes all of `actions` or nothing; Lost when a condition failed. Raises CallFailed for everything else."""
    cancelled = transact(client, actions)
    if cancelled is None:
        return Done()
    cancelled.require_failed_condition()
    return cancelled.lost


def token_of(actions: list[Action]) -> str:
    """A token (at most 36 characters) from the content: DynamoDB rejects a known token with other content."""
    return hashlib.sha256(encode_json(actions, sort_keys=True)).hexdigest()[:32]


def _cancelled(error: ClientError) -> Cancelled:
    """Reasons come by index. A failed condition counts before other failures in the same transaction."""
    reasons = error.response.get("CancellationReasons", [])
    codes = reasons_of(error)
    failed = {index: reasons[index].get("Item") for index, code in enumerate(codes) if code == CONDITION_FAILED}
    invalid = next((reason.get("Message", INVALID) for reason in reasons if reason.get("Code") == INVALID), None)
    kinds = {KIND_OF_CODE.get(code) for code in codes}
    if failed or invalid is not None or FailureKind.CONFLICT in kinds:
        invalid_at = frozenset(index for index, code in enumerate(codes) if code == INVALID)
        return Cancelled(failed, FailureKind.CONFLICT in kinds, invalid, invalid_at)
    kind = next((kind for kind in kinds if kind is not None), FailureKind.SERVER)
    raise CallFailed(kind, f"TransactWriteItems: cancelled: {', '.join(sorted(set(codes)))}") from error


UPDATE_CONDITION_FAILED: Final = "ConditionalCheckFailedException"


def update_item(
    client: Any,
    table: str,
    key: str,
    expression: str,
    condition: str | None,
    values: Mapping[str, Any],
    names: Mapping[str, str] | None = None,
    *,
    returning: bool = True,
) -> tuple[bool, Item | None]:
    """Updates an item of the lease table. Whether the condition failed, and the item as it is after the call.

    Raises CallFailed.
    """
    request: dict[str, Any] = {
        "TableName": table,
        "Key": lease_key(key),
        "UpdateExpression": expression,
        "ReturnValues": "ALL_NEW" if returning else "NONE",
    }
    if condition:
        request |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if values:
        request["ExpressionAttributeValues"] = values
    if names:
        request["ExpressionAttributeNames"] = names
    return update_under(client, request)


def update_under(client: Any, request: Mapping[str, Any]) -> tuple[bool, Item | None]:
    """One UpdateItem. Whether its condition failed, and the item that came with the reply. Raises CallFailed."""
    with translated():
        try:
            return False, client.update_item(**request).get("Attributes")
        except ClientError as error:
            if code_of(error) == UPDATE_CONDITION_FAILED:
                found: Item | None = error.response.get("Item")
                return True, found
            raise


def put_new(table: str, item: dict[str, Any], condition: str = NEW_ROW) -> Action:
    """Puts an item if it is not there yet."""
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": condition}}


def set_missing(table: str, key: dict[str, Any], attributes: dict[str, Any]) -> Action:
    """Sets the attributes that the item does not have yet; the others stay. It never fails a transaction."""
    return {
        "Update": {
            "TableName": table,
            "Key": key,
            "UpdateExpression": "SET " + ", ".join(f"#{name} = if_not_exists(#{name}, :{name})" for name in attributes),
            "ExpressionAttributeNames": {f"#{name}": name for name in attributes},
            "ExpressionAttributeValues": {f":{name}": value for name, value in attributes.items()},
        }
    }


def check_stream_start(leases: str, stream_arn: str, *, started: bool) -> Action:
    """Requires that the lease table has the stream's row, or that it has none."""
    return {
        "ConditionCheck": {
            "TableName": leases,
            "Key": lease_key(stream_key(stream_arn)),
            "ConditionExpression": "attribute_exists(leaseKey)" if started else NEW_ROW,
        }
    }
