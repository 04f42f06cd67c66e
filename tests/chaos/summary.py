"""What a run was like, in a line."""

from collections import Counter
from dataclasses import dataclass

from tests.chaos.blow import Kind
from tests.chaos.plan import Plan


@dataclass(frozen=True)
class Summary:
    """`drained`: seconds from the calm until all was drained."""

    plan: Plan
    records: int
    shards: int
    blows: Counter[Kind]
    exits: Counter[int]
    faults: int
    conflicts: int
    moves: int
    poison: int
    ignored: int
    gaps: int
    lost: int
    drained: float
    seconds: float

    def __str__(self) -> str:
        kinds = ", ".join(f"{self.blows[kind]} {kind.name.lower()}" for kind in Kind)
        codes = ", ".join(f"{count} x {code}" for code, count in sorted(self.exits.items()))
        return (
            f"seed {self.plan.seed}: {self.records:,} records, {self.shards} shards, {self.blows.total()} blows "
            f"({kinds}), exits ({codes}), {self.faults:,} faults, {self.conflicts:,} conflicts, {self.moves:,} moves, "
            f"{self.poison} poison, {self.ignored} ignored, {self.gaps} gaps, {self.lost} lost, "
            f"drained after {self.drained:.1f} s, {self.seconds:.0f} s in all"
        )
