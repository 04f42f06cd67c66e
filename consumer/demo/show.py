"""What a person sees of a demonstration: short lines, and on a terminal a picture below them that moves."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, Self

from consumer.domain.board import BoardRow

PROGRESS_SECONDS: Final = 2.0


class Pulse(StrEnum):
    """What the worker's process does. It is starting until it tells its lag for the first time."""

    STARTING = "starting"
    WORKING = "working"
    KILLED = "killed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Scene:
    """How things stand. `done`: records that count on the board or lie in the quarantine, as the tables say."""

    pulse: Pulse
    pid: int
    written: int
    total: int
    done: int
    quarantined: int
    per_second: float
    lag_seconds: float | None
    board: Sequence[BoardRow]


class Show(Protocol):
    """Told what happens; use it in a `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def tell(self, topic: str, sentence: str) -> None:
        """A line of the story."""

    def update(self, scene: Scene) -> None:
        """How things stand now, some times a second."""

    def end(self, word: str, lines: Sequence[str], *, good: bool) -> None:
        """The verdict: nothing moves after it."""

    def advise(self, title: str, commands: Sequence[tuple[str, str]]) -> None:
        """What to do next: commands and what each is for."""


class PlainShow:
    """Lines with the seconds since the start, and one on progress every other second."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()
        self._progress_at = PROGRESS_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def tell(self, topic: str, sentence: str) -> None:
        """See Show."""
        print(f"{self._seconds():4.1f} s  {topic:<6}  {sentence}", flush=True)

    def update(self, scene: Scene) -> None:
        """See Show."""
        if self._seconds() >= self._progress_at and scene.pulse in (Pulse.STARTING, Pulse.WORKING):
            self._progress_at = self._seconds() + PROGRESS_SECONDS
            self.tell(
                "done",
                f"{scene.done:,} of {scene.written:,}, {scene.quarantined:,} quarantined, "
                f"{scene.per_second:,.0f} records/s, {work(scene)}",
            )

    def end(self, word: str, lines: Sequence[str], *, good: bool) -> None:  # noqa: ARG002  the words say it
        """See Show."""
        print(f"\n{word}: " + f"\n{'':{len(word) + 2}}".join(lines), flush=True)

    def advise(self, title: str, commands: Sequence[tuple[str, str]]) -> None:
        """See Show."""
        print(f"\n{title}")
        for command, purpose in commands:
            print(f"  {command:<{_width(commands)}}  {purpose}")

    def _seconds(self) -> float:
        return time.monotonic() - self._started_at


def open_show() -> Show:
    """The picture on a terminal that can show it, else plain lines."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        from consumer.demo.picture import LiveShow

        return LiveShow(console)
    return PlainShow()


def work(scene: Scene) -> str:
    """The worker's lag; where it tells none, what its process does instead."""
    return scene.pulse if scene.lag_seconds is None else f"lag {scene.lag_seconds:.1f} s"


def many(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _width(commands: Sequence[tuple[str, str]]) -> int:
    return max(len(command) for command, _ in commands)
