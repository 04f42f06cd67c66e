"""Two handlers of botocore's `before-parse` event: answers as they came, and none that is no JSON object.

botocore's own parser takes a 200 with any body for success; a captive portal's page must not count as a commit.
"""

from collections.abc import Mapping
from typing import Any

from consumer.aws import notation
from consumer.domain.errors import Trouble, TroubleKind


def keep_bodies(client: Any, operation: str) -> None:
    """The answers of `operation` come as the bytes they are, under "Body": records stay in wire form.

    botocore's own parse of a page of records costs 15 times what json does. To ask twice is the same as once.
    """
    event = f"before-parse.{_service(client)}.{operation}"
    client.meta.events.register_first(event, _keep_body, unique_id=f"keep-body.{operation}")


def as_it_came(answer: Mapping[str, Any]) -> bytes:
    """An answer that botocore has parsed all the same, in wire form again, as far as botocore knows its fields."""
    return notation.write_plainly({name: value for name, value in answer.items() if name != "ResponseMetadata"})


def refuse_garbage(client: Any) -> None:
    """An answer that is no JSON object is Trouble, whatever its status says."""
    client.meta.events.register(f"before-parse.{_service(client)}", _refuse_garbage)


def _service(client: Any) -> str:
    return str(client.meta.service_model.service_id.hyphenize())


def _keep_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] == 200:
        customized_response_dict["Body"] = response_dict["body"]
        response_dict["body"] = b"{}"


def _refuse_garbage(response_dict: dict[str, Any], **_: object) -> None:
    try:
        sound = isinstance(notation.read(response_dict["body"]), dict)
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        raise Trouble(TroubleKind.MALFORMED, f"HTTP {response_dict['status_code']} with what is no JSON object")
