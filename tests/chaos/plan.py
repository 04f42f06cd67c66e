"""All that a seed decides before a run begins; what is drawn during it comes from `Plan.random`."""

import random
from collections.abc import Collection
from dataclasses import dataclass

from tests.streams_server import Fault, LastPage, Rule, ShardFilter, everything

FEWEST_SHARDS = 62
_TRIM_RATE = 0.02
_TRIMS_EVERY = 3
"""Every third seed loses records: any ten in a row have some of either kind."""


@dataclass(frozen=True)
class Plan:
    """`seconds`: how long there is trouble, at least; the records are written meanwhile. `but`: faults left out."""

    seed: int
    seconds: float
    records: int
    workers: int
    but: frozenset[Fault]
    players: int
    poison: float
    roots: int
    fewest_shards: int
    shards: int
    """There are as many by the end, or one or two more."""
    disabled: bool
    """Whether the stream is switched off after the last record."""
    by_arn: bool
    """Whether the workers are told the stream, not the table: of a stream that is off only this finds the view."""
    rate: float
    lease_ttl_seconds: int
    poll_interval_seconds: float
    batch_window_seconds: float
    stable: tuple[bool, ...]
    """Which worker slots keep their worker id over a restart."""
    options: dict[str, object]
    """Of the streams server."""
    spared: int = 0
    """So many worker slots, the first ones, meet no signal before the end."""
    births: tuple[int, int, int] = (70, 24, 6)
    """How often a shard splits in two, rolls over, splits in three."""

    @classmethod
    def drawn(
        cls,
        seed: int,
        *,
        seconds: float = 60.0,
        records: int = 20_000,
        workers: int = 3,
        fewest_shards: int = FEWEST_SHARDS,
        but: Collection[Fault] = (),
        spared: int = 0,
        births: tuple[int, int, int] = (70, 24, 6),
    ) -> "Plan":
        """From a seed, and from how much is to be done."""
        draw = random.Random(f"{seed} plan")
        disabled = draw.random() < 0.3
        left_out = {*but, *((Fault.TRIM,) if seed % _TRIMS_EVERY else ())}
        return cls(
            seed=seed,
            seconds=seconds,
            records=records,
            workers=workers,
            but=frozenset(left_out),
            players=draw.choice((50, 500, 2_000)),
            poison=draw.choice((0.005, 0.01, 0.05)),
            roots=draw.choice((1, 1, 2, 5)),
            fewest_shards=fewest_shards,
            shards=fewest_shards + draw.randrange(max(1, fewest_shards // 3)),
            disabled=disabled,
            by_arn=disabled or draw.random() < 0.3,
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
            births=births,
        )

    def random(self, purpose: str) -> random.Random:
        """A source for one purpose: none draws from another's."""
        return random.Random(f"{self.seed} {purpose}")

    @property
    def trims(self) -> bool:
        """Whether records are lost."""
        return Fault.TRIM not in self.but

    @property
    def pace(self) -> float:
        """In a short run all goes faster, as far as workers can start so fast."""
        return min(1.0, max(0.4, self.seconds / 60))

    @property
    def rules(self) -> list[Rule]:
        """The faults of the run."""
        rules = everything(self.rate, but={*self.but, Fault.TRIM})
        return [*rules, Rule(Fault.TRIM, _TRIM_RATE)] if self.trims else rules

    @property
    def command(self) -> str:
        """Runs it again."""
        without = sorted(fault.value for fault in self.but if fault is not Fault.TRIM or self.seed % _TRIMS_EVERY == 0)
        return (
            f"python -m tests.chaos --seeds 1 --base {self.seed} --seconds {self.seconds:g} --records {self.records} "
            f"--workers {self.workers} --shards {self.fewest_shards}"
            + (f" --without {','.join(without)}" if without else "")
        )
