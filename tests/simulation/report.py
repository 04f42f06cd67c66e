"""What many runs came to, for a person."""

from collections.abc import Iterator
from statistics import median

from tests.simulation.nemesis import FAULTS, why_not
from tests.simulation.runs import Tally

ENOUGH_STRIKES = 50
"""In 500 seeds each sensible cell of fault and call is struck so often."""
PER_SEEDS = 500
TOO_RARE = {
    "Forget": "a row goes only when its children have ended and listings have long not shown it: one in three runs",
    "Mark": "a finished shard must vanish while the trouble lasts: some 60 a cell, by chance fewer",
    "RecordLoss": "a parent that nobody ever knew is gone for good in hardly any run",
    "Adopt": "a shard is found late in part of the runs, once: some 50 a cell, by chance fewer",
    "Probe": "only roots that are found late are asked for",
    "EndShard": "struck three times in four already; three ends a run, ten fates: some 60 a cell, by chance fewer",
    "Leave": "a worker leaves once in its life",
    "Halt": "only a flood trips a breaker, in a fifth of the runs, and one halt ends it",
    "Examine": "only runs with scores that no sum can hold ask",
    **dict.fromkeys(("op Apply", "op Drop", "op Place"), "a few people a run, in half of the runs: some 40 a cell"),
    "op Close": "only what a flood has halted is resumed: some 20 a cell",
    **dict.fromkeys(("op AskMoment", "op Open", "op Look"), "once an act, in part of the acts"),
    **dict.fromkeys(("op Put", "op Count", "op OpenAt", "op FindRows"), "one replay a run, in half of the runs"),
    **dict.fromkeys(("op Births", "op Amend"), "a ledger is lost in one run of twenty"),
    "op Examine": "only what the board cannot hold is asked about",
}
"""Calls that are so rare that even a high rate does not reach it, and why."""
_SHORT = {
    "lost request": "lost",
    "lost reply": "unheard",
    "late request": "late",
    "late duplicate": "twice",
    "late reply": "slow",
    "iterator expired": "expired",
    "crash before": "crash<",
    "crash after": "crash>",
}


def lines(tally: Tally) -> Iterator[str]:
    """The figures, the table of faults and calls, and the violations."""
    seeds = len(tally.sizes)
    steps, shards, _ = (median(column) for column in zip(*tally.sizes, strict=True))
    split = sum(splits > 0 for _, _, splits in tally.sizes)
    yield f"{seeds} seeds in {tally.seconds:.1f} s: {seeds / tally.seconds:.0f} a second"
    yield f"the median run has {steps:.0f} steps and {shards:.0f} shards; {split / seeds:.0%} of the runs split one"
    yield from _table(tally)
    yield "what befell: " + ", ".join(f"{what} {count}" for what, count in sorted(tally.happened.items()))
    for failure in tally.failures:
        yield f"seed {failure.seed}: {failure.name}: {failure.facts}"
        yield f"  run it again: python -m tests.simulation --base {failure.seed} --seeds 1 --shrink"


def _table(tally: Tally) -> Iterator[str]:
    kinds = sorted({key.partition("/")[0] for key in tally.steps})
    yield f"{'':13}{'fine':>8}" + "".join(f"{_SHORT.get(fate.value, fate.value):>10}" for fate in FAULTS)
    enough = ENOUGH_STRIKES * len(tally.sizes) / PER_SEEDS
    few = set()
    for kind in kinds:
        cells = []
        for fate in FAULTS:
            count = tally.steps[f"{kind}/{fate.value}"]
            low = why_not(fate, kind) is None and count < enough
            if low:
                few.add(kind)
            cells.append("-" if why_not(fate, kind) else f"{count}{'*' if low else ''}")
        yield f"{kind:13}{tally.steps[f'{kind}/fine']:8}" + "".join(f"{cell:>10}" for cell in cells)
    yield "-: reads have no effect, only reading has iterators, only a shard that is asked for can be missing"
    for kind in sorted(few):
        yield f"*: less than {ENOUGH_STRIKES} in {PER_SEEDS} seeds: {kind}: {TOO_RARE.get(kind, 'RAISE ITS RATE')}"
