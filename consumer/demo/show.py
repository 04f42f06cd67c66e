"""What the demo shows: the lines of its story, and on a terminal a live view of the board below them."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from consumer.demo.worker_process import Activity
from consumer.domain.operator_ports import BoardRow
from consumer.operations.top import By, best

PROGRESS_SECONDS: Final = 2.0
BARS: Final = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
WIDEST: Final = 96
TOPIC_STYLES: Final = {"kill": "bold red", "worker": "bold cyan"}


ACTIVITY_STYLES: Final = {
    Activity.STARTING: "yellow",
    Activity.WORKING: "green",
    Activity.KILLED: "bold red",
    Activity.STOPPED: "dim",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One view of the demo. `done`: records that count on the board or are in quarantine, by the tables.

    `lag`: seconds, and whether they are known or an upper bound, as the worker with this `pid` reports; None: it does
    not.
    """

    pid: int
    activity: Activity
    lag: tuple[float, bool] | None
    written: int
    total: int
    done: int
    quarantined: int
    per_second: float
    board: Sequence[BoardRow]

    @property
    def work(self) -> str:
        """The worker's lag, or what its process does instead."""
        if self.lag is None:
            return self.activity
        seconds, known = self.lag
        return f"lag {'' if known else '< '}{seconds:.1f} s"


class Show:
    """Plain lines, each with the seconds since the start, and one on progress every other second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_at = time.monotonic()
        self._progress_at = PROGRESS_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def say(self, topic: str, sentence: str) -> None:
        """A line of the story."""
        style = TOPIC_STYLES.get(topic, "bold")
        self._print(Text.assemble((f"{self._seconds():4.1f} s  ", "dim"), (f"{topic:<6}  ", style), sentence))

    def update(self, snapshot: Snapshot) -> None:
        """The current state, several times per second."""
        running = snapshot.activity in (Activity.STARTING, Activity.WORKING)
        if running and self._seconds() >= self._progress_at:
            self._progress_at = self._seconds() + PROGRESS_SECONDS
            self.say(
                "done",
                f"{snapshot.done:,} of {snapshot.written:,}, {snapshot.quarantined:,} quarantined, "
                f"{snapshot.per_second:,.0f} records/s, {snapshot.work}",
            )

    def end(self, verdict: str, lines: Sequence[str], *, good: bool) -> None:
        """The verdict: there is no update after it."""
        indented = f"\n{'':{len(verdict) + 2}}".join(lines)
        self._print(Text.assemble((f"\n{verdict}: ", "bold green" if good else "bold red"), indented))

    def advise(self, title: str, commands: Sequence[tuple[str, str]]) -> None:
        """What to do next: commands, and what each is for, or nothing where the command says it."""
        width = max((len(command) for command, purpose in commands if purpose), default=0)
        self._print(Text(f"\n{title}", style="bold"))
        for command, purpose in commands:
            line = Text(f"  {command}", style="cyan")
            self._print(line if not purpose else Text.assemble(line, " " * (width - len(command) + 2), purpose))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)

    def _seconds(self) -> float:
        return time.monotonic() - self._started_at


class LiveShow(Show):
    """The same lines, and below them a live view that stays in its place. ASCII where nothing better is possible."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._history: deque[tuple[float, Activity]] = deque(maxlen=50)
        self._snapshot: Snapshot | None = None

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, snapshot: Snapshot) -> None:
        """Draws it in place of the one before."""
        self._history.append((snapshot.per_second, snapshot.activity))
        self._snapshot = snapshot
        if not self._live.is_started:
            self._live.start()
        self._live.update(self._draw(snapshot, spare_lines=16), refresh=True)  # for the story

    def end(self, verdict: str, lines: Sequence[str], *, good: bool) -> None:
        """Leaves the last view on the terminal, above the verdict."""
        if self._snapshot is not None and self._live.is_started:
            self._live.update(self._draw(self._snapshot, spare_lines=20), refresh=True)  # the verdict needs more
            self._live.stop()
        super().end(verdict, lines, good=good)

    def _draw(self, snapshot: Snapshot, spare_lines: int) -> RenderableType:
        rows = max(3, min(10, self._console.height - spare_lines))
        width = min(self._console.width - 3, WIDEST)  # the terminal's own ^C must not break the last line
        return Constrain(Group(_board(snapshot, rows), self._bars(snapshot)), width)

    def _bars(self, snapshot: Snapshot) -> Table:
        bars = Table.grid(padding=(0, 1), expand=True)
        bars.add_column(width=11)
        bars.add_column(ratio=1)
        bars.add_column(justify="right", width=20)
        for name, count, style in (("written", snapshot.written, "blue"), ("done", snapshot.done, "green")):
            bar = ProgressBar(snapshot.total, count, complete_style=style, finished_style=style)
            bars.add_row(f" {name}", bar, f"{count:,} of {snapshot.total:,} ")
        bars.add_row(" records/s", self._rates(), f"{snapshot.per_second:,.0f} ")
        worker = Text(f"process {snapshot.pid}, {snapshot.work}", style=ACTIVITY_STYLES[snapshot.activity])
        bars.add_row(" worker", worker, Text(f"{snapshot.quarantined:,} quarantined ", style="yellow"))
        return bars

    def _rates(self) -> Text:
        """The last seconds, one character per update, in the colour of the worker's activity."""
        line = Text(no_wrap=True, overflow="crop")
        if not self._console.encoding.startswith("utf"):
            return line
        most = max(rate for rate, _ in self._history) or 1.0
        for rate, activity in self._history:
            line.append(BARS[round((len(BARS) - 1) * rate / most)], style=ACTIVITY_STYLES[activity])
        return line


def _board(snapshot: Snapshot, rows: int) -> Table:
    shown = best(snapshot.board, By.TOTAL_SCORE, rows)
    title = f"Leaderboards: the best {len(shown)} of {len(snapshot.board):,}" if shown else "Leaderboards: still empty"
    table = Table(title=title, title_style="bold", box=ROUNDED, expand=True, border_style="dim")
    table.add_column("", justify="right", style="dim", width=3)
    table.add_column("playerId", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("gamesPlayed", justify="right", no_wrap=True)
    table.add_column("totalScore", justify="right", no_wrap=True, min_width=19)
    table.add_column("lastPlayedDate", justify="right", no_wrap=True)
    for place in range(1, rows + 1):
        row = shown[place - 1] if place <= len(shown) else None
        cells = ("", "", "", "") if row is None else (row.player, f"{row.games:,}", f"{row.total:,}", row.date or "")
        table.add_row(str(place), *cells, style="bold" if place <= 3 else "")
    return table


def open_show() -> Show:
    """The live view on a terminal that can show it, else plain lines."""
    console = Console(highlight=False)
    return LiveShow(console) if console.is_terminal and not console.is_dumb_terminal else Show(console)
