"""What a game costs: units that were counted, times a dated price list. It is docs/cost.md, and a table of the README.

`python -m tests.performance.bench.cost` computes both again from the counts and prices that stand in docs/cost.md.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from tests.performance.bench import live
from tests.performance.bench.live import Load
from tests.performance.bench.report import COST, README, Report, content_of, write
from tests.performance.bench.runs import Run, different, fresh_engine, zipf
from tests.performance.bench.units import TRANSACTIONAL, Units
from tests.performance.figures import Figure, markdown_table

RATES: Final = (1, 100, 1_000)
PLAYERS: Final = ("hot", "wide")
PRICES_PLACE, COUNTS_PLACE, PLACE = "prices", "counts", "cost"
TOLERANCE: Final = 0.03
"""A unit in the document may differ by so much from the count: it is rounded."""

_SECONDS: Final = {1: 20, 100: 15, 1_000: 15}
_HOT_PLAYERS: Final = 1_000
_WIDE_PLAYERS: Final = 100_000
_MONTH_SECONDS: Final = 30 * 86_400
_MILLION: Final = 1_000_000

MARKED, TRANSACTIONS = "worker, marked writes", "worker, transactions (not keyed)"
AT_LEAST_ONCE, IDEMPOTENT = "Lambda trigger, at least once", "Lambda, idempotency transaction"
_ONCE: Final = {AT_LEAST_ONCE: "no", IDEMPOTENT: "yes", TRANSACTIONS: "yes", MARKED: "yes"}
_LAMBDA_UNITS: Final = {AT_LEAST_ONCE: 1.0, IDEMPOTENT: 2.0 * TRANSACTIONAL}
"""Write units per game: one `ADD`; or a transaction of the `ADD` and of a row that says that the record was counted."""


class CostMismatch(Exception):
    """The document's units are not those that were counted."""


class Case(NamedTuple):
    """Games that come at a rate, and how the worker writes them."""

    players: str
    way: str
    rate: int


CASES: Final = tuple(
    Case(players, way, rate) for players in PLAYERS for way in (MARKED, TRANSACTIONS) for rate in RATES
)


class Counted(NamedTuple):
    """What a proxy counted."""

    case: Case
    games: int
    cpu_seconds: float
    units: Units

    @property
    def writes_per_game(self) -> float:
        """Write units of the leaderboard."""
        return self.units.board_writes / self.games


class Line(NamedTuple):
    """Dollars per month, part by part; `writes` are write units of the leaderboard per game."""

    case: Case
    writes: float
    board_writes: float
    board_reads: float
    lease_table: float
    stream_reads: float
    compute: float

    @property
    def total(self) -> float:
        """Dollars per month."""
        return sum(self[2:])

    @property
    def per_million(self) -> float:
        """Dollars per million games."""
        return self.total / (self.case.rate * _MONTH_SECONDS / _MILLION)


# --- measured ---


def measure(engine: str, seed: int) -> Report:
    """The worker at each rate, on boards with the rows of all players: it remembers the hot ones, and no wide one."""
    runs = []
    for players in PLAYERS:
        for way in (MARKED, TRANSACTIONS):
            with fresh_engine(engine) as tables:
                for rate in RATES:
                    games = zipf(_HOT_PLAYERS, 1.0, seed) if players == "hot" else iter(different(_WIDE_PLAYERS, seed))
                    load = Load(list(islice(games, rate * _SECONDS[rate])), rate)
                    variant = f"{players}, {way.partition(', ')[2]}, {rate:,} games/s"
                    runs.append(live.worker(tables, load, variant, keyed=way == MARKED, met=players == "hot"))
    parts = {
        players: [run.rate / case.rate for case, run in zip(CASES, runs, strict=True) if case.players == players]
        for players in PLAYERS
    }
    return Report(runs, [slowest("hot: ", parts["hot"]), replace(slowest("wide: ", parts["wide"]), limit=None)])


def slowest(of: str, parts: Sequence[float]) -> Figure:
    """Whether so many games came, and were counted, as were wanted: a slow machine changes what folds.

    Of wide games nothing folds: what one costs does not depend on the rate.
    """
    return Figure(f"{of}games/s, as a part of those wanted, the least", min(parts), limit=0.9, least=True)


def counted(runs: Sequence[Run]) -> list[Counted]:
    """The runs of `measure`, in their order."""
    return [Counted(case, run.records, run.cpu_seconds, run.units) for case, run in zip(CASES, runs, strict=True)]


# --- computed ---


def lines(found: Sequence[Counted], prices: Mapping[str, float]) -> list[Line]:
    """What each way costs at each rate. Lambda's units follow from what it writes; the worker's were counted."""
    cases = [Case(players, way, rate) for players in PLAYERS for rate in RATES for way in _LAMBDA_UNITS]
    lambdas = [_lambda_line(case, prices) for case in cases]
    workers = [_worker_line(each, prices) for each in found]
    order = list(_ONCE)
    return sorted(
        [*lambdas, *workers], key=lambda line: (line.case.players, line.case.rate, order.index(line.case.way))
    )


def _worker_line(each: Counted, prices: Mapping[str, float]) -> Line:
    case, (seconds, _, board_reads, lease_writes, lease_reads, polls) = each.case, each.units
    games, months = case.rate * _MONTH_SECONDS, _MONTH_SECONDS / seconds
    write, read = prices["write unit"] / _MILLION, prices["read unit"] / _MILLION
    calls = max(0.0, polls * months - prices["free stream reads"] * _MILLION)
    return Line(
        case,
        each.writes_per_game,
        games * each.writes_per_game * write,
        games * board_reads / each.games * read,
        months * (lease_writes * write + lease_reads * read),
        calls * prices["stream read"] / _MILLION,
        _container(each.cpu_seconds / seconds, prices),
    )


def _container(cores: float, prices: Mapping[str, float]) -> float:
    """The smallest task of Fargate with a third more processor than the worker took, per month."""
    size = 0.25
    while size < cores * 4 / 3:
        size *= 2
    hours = _MONTH_SECONDS / 3_600
    return hours * size * (prices["vCPU hour"] + 2 * prices["GB hour"])


def _lambda_line(case: Case, prices: Mapping[str, float]) -> Line:
    """A trigger reads the stream without charge, and is invoked with a batch of what it found."""
    units = _LAMBDA_UNITS[case.way]
    milliseconds = prices["write on AWS" if case.way == AT_LEAST_ONCE else "transaction on AWS"]
    invocations = max(min(case.rate, prices["trigger polls"]), case.rate / prices["trigger batch"])
    gigabyte_seconds = case.rate * milliseconds / 1_000 * prices["function memory"]
    compute = invocations * prices["invocation"] / _MILLION + gigabyte_seconds * prices["GB second"]
    games = case.rate * _MONTH_SECONDS
    return Line(case, units, games * units * prices["write unit"] / _MILLION, 0, 0, 0, compute * _MONTH_SECONDS)


# --- written and read ---

_COUNTS_HEADINGS: Final = (
    "players, writes, games/s",
    "games",
    "seconds",
    "board: write units",
    "read units",
    "lease table: write units",
    "read units",
    "polls",
    "CPU seconds",
)
_HEADINGS: Final = (
    "games/s, way",
    "board: write units/game",
    "board writes",
    "board reads",
    "lease table",
    "stream reads",
    "compute",
    "per month",
    "per million games",
)


def counts_table(found: Sequence[Counted]) -> str:
    """The counts as they were."""
    rows = []
    for case, games, cpu_seconds, units in found:
        seconds, *counts = units
        name = f"{case.players}, {case.way.partition(', ')[2]}, {case.rate}"
        rows.append([name, f"{games}", f"{seconds:.2f}", *(f"{count:g}" for count in counts), f"{cpu_seconds:.2f}"])
    return markdown_table(_COUNTS_HEADINGS, rows)


def counts_of(document: str) -> list[Counted]:
    """The counts that stand in the document."""
    found = []
    for case, row in zip(CASES, _rows(content_of(document, COUNTS_PLACE)), strict=True):
        games, seconds, board_writes, board_reads, lease_writes, lease_reads, polls, cpu_seconds = map(float, row[1:])
        units = Units(seconds, board_writes, board_reads, lease_writes, lease_reads, int(polls))
        found.append(Counted(case, int(games), cpu_seconds, units))
    return found


def prices_of(document: str) -> dict[str, float]:
    """The price list that stands in the document, and what is assumed of Lambda."""
    return {row[0]: float(row[1].strip("$").replace(",", "")) for row in _rows(content_of(document, PRICES_PLACE))}


def cost_tables(found: Sequence[Counted], prices: Mapping[str, float]) -> str:
    """A table for hot players, and one for wide ones."""
    parts = []
    for players in PLAYERS:
        rows = [_cost_row(line) for line in lines(found, prices) if line.case.players == players]
        parts.append(f"{_TITLES[players]}\n\n{markdown_table(_HEADINGS, rows)}")
    return "\n".join(parts)


_TITLES: Final = {
    "hot": "**Hot**: 1,000 players by Zipf's law (exponent 1.0), dollars per month.",
    "wide": "**Wide**: each game is another player's, dollars per month.",
}


def _cost_row(line: Line) -> list[str]:
    units = f"{line.writes:.3f}"
    return [
        f"{line.case.rate:,}, {line.case.way}",
        units,
        *map(_dollars, line[2:]),
        *map(_dollars, (line.total, line.per_million)),
    ]


def _dollars(amount: float) -> str:
    return "-" if not amount else f"${amount:,.2f}"


def readme_table(found: Sequence[Counted], prices: Mapping[str, float]) -> str:
    """The table of the README: the whole cost per month, hot and wide."""
    by_case = {line.case: line for line in lines(found, prices)}
    headings = (
        "dollars per month, hot / wide",
        "exactly once",
        *(f"{rate:,} game{'s' * (rate > 1)}/s" for rate in RATES),
    )
    rows = [
        [
            way,
            once,
            *(" / ".join(f"${by_case[Case(players, way, rate)].total:,.0f}" for players in PLAYERS) for rate in RATES),
        ]
        for way, once in _ONCE.items()
    ]
    return markdown_table(headings, rows)


def check(document: str, found: Sequence[Counted]) -> None:
    """Raises CostMismatch where a unit per game in the document's tables differs from what was counted."""
    stated = list(_stated(document))
    if len(stated) != len(found):
        raise CostMismatch(f"the document has {len(stated)} units, and {len(found)} were counted")
    by_case = {each.case: each.writes_per_game for each in found}
    for case, units in stated:
        if abs(units - by_case[case]) > TOLERANCE * by_case[case]:
            raise CostMismatch(
                f"{case}: the document says {units} write units per game, counted were {by_case[case]:.4f}"
            )


def _stated(document: str) -> Iterator[tuple[Case, float]]:
    """The worker's write units per game as the document's tables have them."""
    content = content_of(document, PLACE)
    before, _, after = content.partition(_TITLES["wide"])
    for players, part in (("hot", before), ("wide", after)):
        for row in _rows(part):
            rate, _, way = row[0].partition(", ")
            if way not in _LAMBDA_UNITS:
                yield Case(players, way, int(rate.replace(",", ""))), float(row[1])


def _rows(content: str) -> Iterator[list[str]]:
    """The cells of the rows of the first tables, without headings."""
    table = [line for line in content.splitlines() if line.startswith("|")]
    rule = next((number for number, line in enumerate(table) if line.startswith("| ---")), len(table))
    for line in table[rule + 1 :]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def write_documents(found: Sequence[Counted]) -> None:
    """Writes both documents, from the counts as they stand there, and reads the first one back. Raises CostMismatch."""
    write(COST, {COUNTS_PLACE: f"\n{counts_table(found)}\n"})
    stored, prices = counts_of(COST.read_text()), prices_of(COST.read_text())
    write(COST, {PLACE: f"\n{cost_tables(stored, prices)}\n"})
    check(COST.read_text(), found)
    write(README, {PLACE: readme_table(stored, prices)})


def main() -> int:
    """From the counts that stand in the document."""
    write_documents(counts_of(COST.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
