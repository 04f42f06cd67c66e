"""The report of many runs: figures, how often each fault met each call, and violations."""

from collections.abc import Iterator
from statistics import median

from consumer.operations.steps import OperatorCall
from consumer.worker.calls import Operation
from tests.simulation.nemesis import FAULTS, Fault, why_not
from tests.simulation.runs import Totals

ENOUGH_FAULTS = 50
"""In PER_SEEDS seeds each sensible pair of fault and call occurs so often."""
PER_SEEDS = 500
TOO_RARE: dict[Operation | OperatorCall, str] = {
    Operation.FORGET: "only rows without living children that listings have long not shown: one run in three",
    Operation.MARK_UNLISTED: "a finished shard must vanish while faults happen: some 60 per cell, by chance fewer",
    Operation.RECORD_LOSS: "a parent without a row is gone for good in hardly any run",
    Operation.ADOPT: "a shard is found late in part of the runs, once: some 50 per cell, by chance fewer",
    Operation.PROBE_SHARD: "only roots that are found late are probed",
    Operation.END_SHARD: "three times in four it fails already; three ends per run, ten faults: some 60 per cell",
    Operation.LEAVE: "a worker leaves once",
    Operation.LOOK_UP_SHARD: "only a mark of a shard that is new, or long gone, is looked up",
    Operation.UPGRADE_STREAM: "a stream of version 0.1 is upgraded once, in a tenth of the runs",
    Operation.READ_ROWS: "most rows are remembered, and only keyed runs have marks",
    **dict.fromkeys(
        (Operation.WRITE_ROWS, Operation.MOVE_CHECKPOINT),
        "what comes late, twice or without a reply is drawn by keyed runs; the rest as often as elsewhere",
    ),
    Operation.READ_ITEMS: "only correcting runs have items that are corrected: every seventh",
    Operation.HALT: "only a flood trips a breaker, in a fifth of the runs, and one halt ends it",
    Operation.EXAMINE: "only runs with scores that no sum can hold examine games",
    **dict.fromkeys(
        (OperatorCall.APPLY, OperatorCall.DISCARD, OperatorCall.SET_CHECKPOINT),
        "a few commands per run, in half of the runs: some 40 per cell",
    ),
    OperatorCall.ACCEPT_RULES: "only changing runs accept rules: every seventh",
    **dict.fromkeys((OperatorCall.RESTORE, OperatorCall.READ_ITEMS), "only correcting runs do that: every seventh"),
    OperatorCall.ACKNOWLEDGE: "only a gap is acknowledged: some 30 per cell",
    OperatorCall.READ_ROW: "only a halt for a mark asks for it",
    OperatorCall.RESUME: "only what a flood has halted is resumed: some 20 per cell",
    **dict.fromkeys(
        (OperatorCall.READ_CLOCK, OperatorCall.GET_SHARD_ITERATOR, OperatorCall.READ_MEMBERS),
        "once per command, in part of the commands",
    ),
    **dict.fromkeys(
        (
            OperatorCall.READ_PROGRESS,
            OperatorCall.PUT_PROGRESS,
            OperatorCall.COUNT_BATCH,
            OperatorCall.GET_ITERATOR_AT,
            OperatorCall.READ_ENTRIES,
        ),
        "one replay per run, in half of the runs",
    ),
    **dict.fromkeys((OperatorCall.READ_BINDINGS, OperatorCall.CHANGE_BINDING), "a ledger is lost in one run of twenty"),
    OperatorCall.EXAMINE: "only games that the board cannot hold are examined",
}
"""Calls that are so rare that even a high fault rate does not reach ENOUGH_FAULTS, and why."""
ITEM_EVENTS = (
    "item: inserted",
    "item: edited",
    "item: removed",
    "item: expired",
    "item: an item is broken",
    "item: an item is broken again",
    "item: a broken item is mended",
    "item: a broken item is removed",
    "item: a life ends while it is broken",
    "item: a removal is refused",
    "item: refused by a row",
    "item: a game moves to another player",
    "item: the first record corrects what was there before",
    "item: back-filled",
    "item: superseded",
    "item: re-driven",
    "item: re-driven after its life",
    "item: restored",
    "item: a worker of the newer release",
)
"""What happens in correcting runs."""
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


def lines(totals: Totals) -> Iterator[str]:
    """The figures, the table of faults and calls, and the violations."""
    seeds = len(totals.sizes)
    steps, shards, _ = (median(column) for column in zip(*totals.sizes, strict=True))
    split = sum(splits > 0 for _, _, splits in totals.sizes)
    yield f"{seeds} seeds in {totals.seconds:.1f} s: {seeds / totals.seconds:.0f} per second"
    yield f"the median run has {steps:.0f} steps and {shards:.0f} shards; {split / seeds:.0%} of the runs split one"
    happened = totals.happened
    yield (
        f"windows rolled over: {happened['days begin']} days, {happened['weeks begin']} weeks and "
        f"{happened['months begin']} months began, and the clocks were changed {happened['clocks change']} times; "
        f"{happened['windows compared']} were compared, and {happened['windows incomplete']} were incomplete"
    )
    yield (
        f"rules changed: {happened['rules accepted']} times; {happened['numbers rise']} claims raised a number, "
        f"{happened['rules are refused']} starts were refused, {happened['shards waited']} shards waited"
    )
    yield "items: " + ", ".join(f"{what.removeprefix('item: ')} {happened[what]}" for what in ITEM_EVENTS)
    yield from _table(totals)
    yield "events: " + ", ".join(f"{what} {count}" for what, count in sorted(totals.happened.items()))
    for failure in totals.failures:
        yield f"seed {failure.seed}: {failure.name}: {failure.facts}"
        yield f"  run it again: {failure.command}"


def _table(totals: Totals) -> Iterator[str]:
    calls = sorted({call for call, _ in totals.steps})
    yield f"{'':22}{'fine':>8}" + "".join(f"{_SHORT.get(fault.value, fault.value):>10}" for fault in FAULTS)
    enough = ENOUGH_FAULTS * len(totals.sizes) / PER_SEEDS
    rare = set()
    for call in calls:
        cells = []
        for fault in FAULTS:
            count = totals.steps[call, fault]
            low = why_not(fault, call) is None and count < enough
            if low:
                rare.add(call)
            cells.append("-" if why_not(fault, call) else f"{count}{'*' if low else ''}")
        yield f"{call:22}{totals.steps[call, Fault.NONE]:8}" + "".join(f"{cell:>10}" for cell in cells)
    yield "-: reads have no effect, only reading has iterators, only a shard that is asked for can be missing"
    for call in sorted(rare):
        yield f"*: fewer than {ENOUGH_FAULTS} in {PER_SEEDS} seeds: {call}: {TOO_RARE.get(call, 'RAISE ITS RATE')}"
