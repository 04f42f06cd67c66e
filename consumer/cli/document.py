"""`--json`: one document on stdout and nothing else."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated

import typer

_REST = "on stdout and nothing else."
JsonArray = Annotated[bool, typer.Option("--json", help=f"One JSON array {_REST}")]
JsonObject = Annotated[bool, typer.Option("--json", help=f"One JSON object {_REST}")]
JsonDocument = Annotated[bool, typer.Option("--json", help=f"One JSON document {_REST}")]


def print_array(items: Sequence[Mapping[str, object]]) -> None:
    """An array, an element a line."""
    lines = ",\n".join(f"  {document(item)}" for item in items)
    print(f"[\n{lines}\n]" if items else "[]")


def document(value: object) -> str:
    """JSON in ASCII. A Decimal is a number with all of its digits and no exponent; `json` knows only floats."""
    match value:
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(name)}: {document(part)}" for name, part in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(document, value)) + "]"
        case _:
            return json.dumps(value)
