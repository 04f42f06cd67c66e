"""What a seed decides before a run begins, and the strikes that are drawn during it: signals, logs that block."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, StrEnum
from math import inf
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import NamedTuple

from tests.streams_server import Fault, LastPage, Rule, ShardFilter, all_faults

FEWEST_SHARDS = 62
SPLITS = (70, 24, 6)
"""The weights of splits in two, roll-overs and splits in three."""
_TRIM_RATE = 0.02
_TRIMS_EVERY = 3
"""Every third seed loses records, so that any ten in a row have some of either kind."""
BY_MATCH_EVERY = 4
"""Every fourth seed, 1 and so on, has a source that is keyed by match."""
_LONGEST_PAUSE_SECONDS = 16.0


class HostFault(StrEnum):
    """A fault of what a worker's host gives it."""

    LOG = "log"
    """For a while nothing reads its log."""
    CREDENTIALS = "credentials"
    """They expire within a minute, and their endpoint hangs, or gives something else."""


@dataclass(frozen=True)
class Plan:
    """`seconds`: how long faults last at least; the records are written meanwhile. `without`: faults left out."""

    seed: int
    seconds: float
    records: int
    workers: int
    without: frozenset[Fault | HostFault]
    players: int
    poison: float
    roots: int
    fewest_shards: int
    shards: int
    """The number of shards at the end, or one or two fewer."""
    disabled: bool
    """Whether the stream is switched off after the last record."""
    by_arn: bool
    """Whether workers get the stream's ARN instead of the table: only so they find a stream that is switched off."""
    keyed: bool
    """Whether the source is keyed by player, so that rows have marks; else by match."""
    rate: float
    lease_ttl_seconds: int
    poll_interval_seconds: float
    batch_window_seconds: float
    stable: tuple[bool, ...]
    """Which slots keep their worker id over a restart."""
    options: dict[str, object]
    """Options of the streams server."""
    spared: int = 0
    """How many slots, the first ones, get no signal before the end. Their logs block all the same."""
    splits: tuple[int, int, int] = SPLITS

    @classmethod
    def drawn(
        cls,
        seed: int,
        *,
        seconds: float = 60.0,
        records: int = 20_000,
        workers: int = 3,
        fewest_shards: int = FEWEST_SHARDS,
        without: Collection[Fault | HostFault] = (),
        spared: int = 0,
        splits: tuple[int, int, int] = SPLITS,
    ) -> "Plan":
        """From a seed and the size of the run."""
        draw = random.Random(f"{seed} plan")
        disabled = draw.random() < 0.3
        left_out = {*without, *((Fault.TRIM,) if seed % _TRIMS_EVERY else ())}
        return cls(
            seed=seed,
            seconds=seconds,
            records=records,
            workers=workers,
            without=frozenset(left_out),
            players=draw.choice((50, 500, 2_000)),
            poison=draw.choice((0.005, 0.01, 0.05)),
            roots=draw.choice((1, 1, 2, 5)),
            fewest_shards=fewest_shards,
            shards=fewest_shards + draw.randrange(max(1, fewest_shards // 3)),
            disabled=disabled,
            by_arn=disabled or draw.random() < 0.3,
            keyed=seed % BY_MATCH_EVERY != 1,
            rate=draw.choice((0.01, 0.02, 0.03)),
            lease_ttl_seconds=draw.randint(2, 5),
            poll_interval_seconds=draw.choice((0.1, 0.2)),
            batch_window_seconds=draw.choice((0.0, 0.0, 0.1)),
            stable=tuple(draw.random() < 0.5 for _ in range(workers)),
            options={
                "page_records": draw.choice((50, 200, 1_000)),
                "page_shards": draw.choice((9, 100)),
                "shard_filter": draw.choice([*ShardFilter]),
                "last_page": draw.choice([*LastPage]),
                "hold_seconds": draw.choice((None, 0.0, draw.uniform(0.01, 0.03))),
                "linger_seconds": draw.choice((0.0, 0.02)),
                "hide_tokens": draw.random() < 0.3,
                "trim_unread": False,
                "iterator_seconds": draw.choice((5.0, 900.0)),
            },
            spared=spared,
            splits=splits,
        )

    def random(self, purpose: str) -> random.Random:
        """A random source of its own for each purpose."""
        return random.Random(f"{self.seed} {purpose}")

    @property
    def trims(self) -> bool:
        """Whether records are lost."""
        return Fault.TRIM not in self.without

    @property
    def time_scale(self) -> float:
        """By it delays are shortened in a short run, as far as the start time of workers allows."""
        return min(1.0, max(0.4, self.seconds / 60))

    @property
    def rules(self) -> list[Rule]:
        """The faults of the run."""
        rules = all_faults(self.rate, without={*(fault for fault in Fault if fault in self.without), Fault.TRIM})
        return [*rules, Rule(Fault.TRIM, _TRIM_RATE)] if self.trims else rules

    @property
    def command(self) -> str:
        """The command that runs it again."""
        chosen = [fault for fault in self.without if fault is not Fault.TRIM or self.seed % _TRIMS_EVERY == 0]
        return (
            f"python -m tests.chaos --seeds 1 --base {self.seed} --seconds {self.seconds:g} --records {self.records} "
            f"--workers {self.workers} --shards {self.fewest_shards}"
            + (f" --without {','.join(sorted(chosen))}" if chosen else "")
        )


class Kind(Enum):
    """The signals of a strike, one after the other."""

    KILL = (SIGKILL,)
    PAUSE = (SIGSTOP, SIGCONT)
    PAUSE_KILL = (SIGSTOP, SIGKILL)
    TERM = (SIGTERM,)
    TERM_PAUSE = (SIGTERM, SIGSTOP, SIGCONT)
    TERM_TWICE = (SIGTERM, SIGTERM)
    LOG = ()
    """Only its log blocks, for the time of a pause."""

    @property
    def signals(self) -> tuple[Signals, ...]:
        return tuple(Signals(number) for number in self.value)


_SHARES = {Kind.KILL: 34, Kind.PAUSE: 28, Kind.PAUSE_KILL: 8, Kind.TERM: 18, Kind.TERM_PAUSE: 6, Kind.TERM_TWICE: 6}


class Strike(NamedTuple):
    """What happens to a worker that has worked for `after_seconds`.

    A pause lasts `pause_seconds`; a signal after SIGTERM follows `gap_seconds` later; the next worker starts
    `down_seconds` after the end. `blocks_log`: nothing reads its log from a pause before the first signal on.
    """

    kind: Kind
    after_seconds: float
    pause_seconds: float
    gap_seconds: float
    down_seconds: float
    blocks_log: bool

    @classmethod
    def sparing(cls, draw: random.Random, time_scale: float, *, logs: bool) -> "Strike":
        """For a worker that gets no signals. `logs`: its log may block."""
        after, pause = (time_scale * draw.uniform(1.0, _LONGEST_PAUSE_SECONDS) for _ in range(2))
        return cls(Kind.LOG, after if logs else inf, pause, 0.0, 0.0, blocks_log=True)

    @classmethod
    def drawn(cls, draw: random.Random, time_scale: float, *, logs: bool) -> "Strike":
        """Some come right after the start; pauses last from an instant to much longer than any lease."""
        (kind,) = draw.choices([*_SHARES], [*_SHARES.values()])
        after = draw.uniform(0.1, 2.0) if draw.random() < 0.2 else draw.uniform(1.0, 9.0)
        pause = draw.uniform(2.0, _LONGEST_PAUSE_SECONDS) if draw.random() < 0.6 else draw.uniform(0.02, 2.0)
        gap, down = draw.uniform(0.0, 0.5), draw.uniform(0.0, 3.0)
        blocks_log = draw.random() < 0.25 and logs
        return cls(kind, time_scale * after, time_scale * pause, gap, time_scale * down, blocks_log)
