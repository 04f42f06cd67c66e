"""How far long work is: a bar on stderr, where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
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


def gauged(steps: Iterator[T], share: Callable[[], float | None], words: Callable[[], str]) -> Iterator[T]:
    """The steps, and a bar of which `share` (0 to 1; None: not known) is full, with changing words before it."""
    if not sys.stderr.isatty():
        yield from steps
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(words(), total=None)
        for step in steps:
            full = share()
            total = None if full is None else 1.0
            progress.update(task, description=words(), total=total, completed=full or 0.0)
            yield step
