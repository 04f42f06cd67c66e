"""How far long work is: a bar on stderr, where that is a terminal."""

import sys
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def watched(items: Iterator[T], about: int, what: str) -> Iterator[T]:
    """The items, and a bar while they come, which is gone afterwards. `about`: how many there will be; 0: not known."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=about or None, description=what)
