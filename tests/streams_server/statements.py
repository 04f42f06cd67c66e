"""Statements in one call: each has a fate of its own."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.streams_server.engine import Response

BATCH = "BatchExecuteStatement"

Document = dict[str, Any]
Codes = Mapping[int, str]
"""The codes of statements that fail, by their index."""

_TABLE = re.compile(r'\s*(?:UPDATE|INSERT INTO) "([^"]+)"')
_MESSAGE = "a fault of the test"


def table_of(statement: Document) -> str:
    """The table that it writes."""
    found = _TABLE.match(statement["Statement"])
    return found[1] if found else ""


def player_of(statement: Document) -> Document:
    """The value of the row's key: the first parameter of a condition, or of a new row."""
    before, where, _ = statement["Statement"].partition(" WHERE ")
    player: Document = statement["Parameters"][before.count("?") if where else 0]
    return player


def without(document: Document, codes: Codes) -> Document:
    """The request without the statements that fail."""
    left = [statement for index, statement in enumerate(document["Statements"]) if index not in codes]
    return {**document, "Statements": left}


def with_errors(response: Response | None, codes: Codes, *, executed: bool) -> Response | None:
    """The reply to all statements, from the engine's. `executed`: it has those that fail too, which took effect."""
    if response is None or response.status != 200:
        return response
    answers: list[Document] = json.loads(response.body)["Responses"]
    for index in sorted(codes):
        error = {"Error": {"Code": codes[index], "Message": _MESSAGE}}
        answers[index : index + executed] = [error]
    return Response(200, json.dumps({"Responses": answers}).encode())
