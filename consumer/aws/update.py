"""One conditional UpdateItem, whose failed condition is an answer."""

from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from consumer.aws.errors import code_of, translated
from consumer.aws.items import Item, lease_key

CONDITION_FAILED: Final = "ConditionalCheckFailedException"


def update(
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
    """Whether the condition failed, and the item: as it is then, or as it was found when it failed. Raises Trouble."""
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
    with translated():
        try:
            return False, client.update_item(**request).get("Attributes")
        except ClientError as error:
            if code_of(error) == CONDITION_FAILED:
                found: Item | None = error.response.get("Item")
                return True, found
            raise
