"""Asks before something is changed; scripts say `--yes`."""

import sys
from typing import Annotated, Final

import typer

from consumer.domain.errors import UnsafeRefused

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what each player would get, and change nothing.")]

NOT_CONFIRMED: Final = "not confirmed: nothing was changed"


def confirm(question: str, *, yes: bool) -> None:
    """Raises UnsafeRefused unless a person says yes. What will happen is told on stderr before."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UnsafeRefused(f"{question}\nNobody is there to ask: add --yes to do it")
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:  # Ctrl-C, or the end of what is typed; the cursor stands behind the question
        print(file=sys.stderr)
        agreed = False
    if not agreed:
        raise UnsafeRefused(NOT_CONFIRMED)
