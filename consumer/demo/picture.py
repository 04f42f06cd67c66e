"""The demonstration as a picture: the board's head, how far written and done have come, and the worker's pulse."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Self

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from consumer.demo.show import Pulse, Scene, work
from consumer.operations.top import By, best

BEATS: Final = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
WIDEST: Final = 96
TOPIC_STYLES: Final = {"kill": "bold red", "worker": "bold cyan"}
PULSE_STYLES: Final = {Pulse.STARTING: "yellow", Pulse.WORKING: "green", Pulse.KILLED: "bold red", Pulse.STOPPED: "dim"}


class LiveShow:
    """Lines as they come, and below them a picture that stays where it is. ASCII where there is nothing better."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._pulse: deque[tuple[float, Pulse]] = deque(maxlen=50)
        self._scene: Scene | None = None
        self._started_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, topic: str, sentence: str) -> None:
        """See Show."""
        offset = Text(f"{time.monotonic() - self._started_at:4.1f} s  ", style="dim")
        self._console.print(offset + Text(f"{topic:<6}  ", style=TOPIC_STYLES.get(topic, "bold")) + Text(sentence))

    def update(self, scene: Scene) -> None:
        """See Show."""
        self._pulse.append((scene.per_second, scene.pulse))
        self._scene = scene
        if not self._live.is_started:
            self._live.start()
        self._live.update(self._draw(scene, spare_lines=16), refresh=True)  # the story's

    def end(self, word: str, lines: Sequence[str], *, good: bool) -> None:
        """See Show."""
        if self._scene is not None and self._live.is_started:
            self._live.update(self._draw(self._scene, spare_lines=20), refresh=True)  # the verdict wants more
            self._live.stop()
        verdict = Text(f"\n{word}: ", style="bold green" if good else "bold red")
        self._console.print(verdict + Text(f"\n{'':{len(word) + 2}}".join(lines)))

    def advise(self, title: str, commands: Sequence[tuple[str, str]]) -> None:
        """See Show."""
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=2 + max(len(command) for command, _ in commands))
        table.add_column()
        for command, purpose in commands:
            table.add_row(Text(f"  {command}", style="cyan", no_wrap=True), purpose)
        self._console.print("", Text(title, style="bold"), table, sep="\n")

    def _draw(self, scene: Scene, spare_lines: int) -> RenderableType:
        rows = max(3, min(10, self._console.height - spare_lines))
        width = min(self._console.width - 3, WIDEST)  # the terminal's own ^C must not break the last line
        return Constrain(Group(_board(scene, rows), self._bars(scene)), width)

    def _bars(self, scene: Scene) -> Table:
        bars = Table.grid(padding=(0, 1), expand=True)
        bars.add_column(width=11)
        bars.add_column(ratio=1)
        bars.add_column(justify="right", width=20)
        for name, count, style in (("written", scene.written, "blue"), ("done", scene.done, "green")):
            bar = ProgressBar(scene.total, count, complete_style=style, finished_style=style)
            bars.add_row(f" {name}", bar, f"{count:,} of {scene.total:,} ")
        bars.add_row(" records/s", self._pulse_line(), f"{scene.per_second:,.0f} ")
        told = Text(f"process {scene.pid}, {work(scene)}", style=PULSE_STYLES[scene.pulse])
        bars.add_row(" worker", told, Text(f"{scene.quarantined:,} quarantined ", style="yellow"))
        return bars

    def _pulse_line(self) -> Text:
        """The last seconds, a character a look, in the colour of what the worker did."""
        line = Text(no_wrap=True, overflow="crop")
        if not self._console.encoding.startswith("utf"):
            return line
        most = max(rate for rate, _ in self._pulse) or 1.0
        for rate, pulse in self._pulse:
            line.append(BEATS[round((len(BEATS) - 1) * rate / most)], style=PULSE_STYLES[pulse])
        return line


def _board(scene: Scene, rows: int) -> Table:
    shown = best(scene.board, By.TOTAL_SCORE, rows)
    title = f"Leaderboards: the best {len(shown)} of {len(scene.board):,}" if shown else "Leaderboards: still empty"
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
