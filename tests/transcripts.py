"""The transcripts of docs/operate.md: its commands on a terminal of 80 columns, over a live pair of workers.

`python -m tests.transcripts` writes into the page what they show now. tests/integration/test_operate.py compares it.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from consumer.aws.items import MEMBERS_KEY, members_of
from consumer.demo.engine import Engine
from consumer.domain.membership import HeartbeatReport
from tests.streams_server import StreamsServer, build_shards
from tests.support.engines import TableEngine
from tests.support.processes import Game, Terminal, WorkerProcess, until
from tests.support.processes.game import Item

PAGE = Path(__file__).parents[1] / "docs" / "operate.md"
COLUMNS, LINES = 80, 24
TABLES = {
    "source": "GameEvents",
    "leaderboard": "Leaderboards",
    "lease": "consumer-leases",
    "quarantine": "consumer-quarantine",
}
QUICK = {"poll_interval_seconds": "0.05", "idle_poll_interval_seconds": "0.1", "lease_ttl_seconds": "1"}
SHARDS = 4
FLOOD = 180
HOURS = 3600.0
_BLOCK = re.compile(r"^## (?P<question>.*?)$(?P<prose>.*?)^```console\n(?P<shown>.*?)^```$", re.DOTALL | re.MULTILINE)


class Installation:
    """Four shards with games in each, and tables; the two workers come when they are needed."""

    def __init__(self, game: Game, server: StreamsServer, stack: ExitStack) -> None:
        self.game = game
        self._server = server
        self._stack = stack
        self._environment = game.environment(None, **QUICK) | server.variables()
        self.workers: list[WorkerProcess] = []

    def append(self, shard: int, items: list[Item], created: float | None = None) -> None:
        """Games, right into a shard."""
        self._server.remote.append({shard: items}, created=created)

    def start(self) -> None:
        """Two workers, which share the shards and have caught up."""
        for name in ("w1", "w2"):
            worker = WorkerProcess(self._environment | {"CONSUMER_WORKER_ID": name})
            self.workers.append(self._stack.enter_context(worker))
        until(self._shared, "each has half of the shards", 60)
        self.play()
        read = [(SHARDS // 2, 0, 0)] * 2
        until(lambda: [(each.shards, each.behind, each.unknown) for each in self._reports()] == read, "all is read", 60)

    def play(self) -> None:
        """Some games in each shard."""
        for shard in range(SHARDS):
            self.append(shard, [self.game.make(f"player-{number}", "12") for number in range(10)])

    def _shared(self) -> bool:
        owners = [row["leaseOwner"]["S"] for row in self.game.rows("lease") if "leaseOwner" in row]
        return len(owners) == SHARDS and {owners.count(owner) for owner in owners} == {SHARDS // 2}

    def _reports(self) -> list[HeartbeatReport]:
        rows = {row["leaseKey"]["S"]: row for row in self.game.rows("lease")}
        return list(members_of(rows.get(MEMBERS_KEY, {})).workers.values())

    def poison(self) -> None:
        """Three games that can never count, each for a reason of its own."""
        good = [self.game.make(f"player-{number}", "12") for number in range(3)]
        text, untimed, undated = good
        text["score"] = {"S": "12.5 points"}
        del untimed["timestamp"]
        undated["timestamp"] = {"S": "31.01.2026"}
        for shard, item in enumerate(good):
            self.append(shard, [item])
        until(lambda: self._pending() == len(good), "they are in quarantine")

    def _pending(self) -> int:
        rows = self.game.rows("quarantine")
        return sum(row.get("state", {}).get("S") == "pending" for row in rows)

    def flood(self) -> None:
        """A release writes all scores as strings, since three hours: the shard halts."""
        items = [self.game.make(f"player-{number % 7}") | {"score": {"S": "12"}} for number in range(FLOOD)]
        self.append(1, items, created=time.time() - 3 * HOURS)
        until(lambda: any(worker.events("shard.halted") for worker in self.workers), "the shard halts")
        until(lambda: any(each.lag_seconds > 2 * HOURS for each in self._reports()), "its worker reports its lag")

    def shows(self, command: str) -> str:
        """What an operator sees on a terminal. Names and ports that are drawn again each time are always the same."""
        words, _, then = command.removeprefix("consumer ").partition("; ")
        # A terminal that moves no cursor: no colours, and no bars that are gone afterwards.
        environment = self._environment | {"TERM": "dumb", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        with Terminal(*words.split(), environment=environment, columns=COLUMNS, lines=LINES) as terminal:
            code = terminal.wait()
        shown = "".join(f"{line.rstrip()}\n" for line in terminal.shown.splitlines())
        assert max(map(len, shown.splitlines()), default=0) <= COLUMNS, f"{command}\n{shown}"
        shown = re.sub(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "2026-01-31T13:00:00.000Z", shown)
        shown = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8000", shown)
        shown = re.sub(r"\b(w\d)/[0-9a-f]{8}\b", r"\1/5f3a90c2", shown)
        return shown + (f"{code}\n" if then == "echo $?" else "")


PREPARED: Mapping[str, Callable[[Installation], object]] = {
    "Is anything not being read?": lambda _: None,
    "Is it behind?": Installation.start,
    "Who owns what?": lambda _: None,
    "What is poison, and why?": Installation.poison,
    "Will it lose data, and when?": Installation.flood,
}
"""What happens before the commands under each heading, in the order of the page."""


@contextmanager
def installed() -> Iterator[Installation]:
    """On engines of its own, so that tables have the names that they have in the documents."""
    with ExitStack() as stack:
        engine = stack.enter_context(Engine())
        server = stack.enter_context(StreamsServer(engine.url))
        game = Game(TableEngine("ministack", server.faultless_url))
        game.tables = dict(TABLES)
        tree = build_shards(SHARDS)
        label = "2026-01-31T12:00:00.000"
        server.remote.create_stream(TABLES["source"], tree, label=label, keys=("playerId", "timestamp"))
        stack.enter_context(game)
        made = Installation(game, server, stack)
        made.play()
        yield made


def played(page: str) -> str:
    """The page with what its commands show now."""
    assert [block["question"] for block in _BLOCK.finditer(page)] == list(PREPARED), "each question has one block"
    with installed() as installation:

        def replayed(block: re.Match[str]) -> str:
            PREPARED[block["question"]](installation)
            commands = re.findall(r"^\$ (.*)$", block["shown"], re.MULTILINE)
            shown = "".join(f"$ {command}\n{installation.shows(command)}" for command in commands)
            return f"{block[0].removesuffix(block['shown'] + '```')}{shown}```"

        return _BLOCK.sub(replayed, page)


def masked(page: str) -> str:
    """Without what differs each time: times, sequence numbers, which of the two workers it is, and blanks.

    A line that begins with a blank is a row of a table, or goes on with a sentence: there all numbers are left out.
    """
    page = "\n".join(re.sub(r"\d+", "0", line) if line.startswith(" ") else line for line in page.splitlines())
    page = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "WHEN", page)
    page = re.sub(r"\d{18,}", "NUMBER", page)
    page = re.sub(r"(\d+ h )?(\d+ min )?\d+ (h|min|s)\b", "TIME", page)
    return re.sub(r"\s+", " ", re.sub(r"\bw\d/", "w/", page))


def main() -> int:
    """Writes the page again."""
    before = PAGE.read_text()
    after = played(before)
    if masked(after) != masked(before):
        PAGE.write_text(after)
        print(f"{PAGE.name}: written")
    else:
        print(f"{PAGE.name}: as it was")
    return 0


if __name__ == "__main__":
    sys.exit(main())
