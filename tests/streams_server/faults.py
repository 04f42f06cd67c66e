"""The faults there are, which calls meet which of them by what rule, and how often that happened."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple

STREAM_READS = ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
SINGLE_WRITES = ("DeleteItem", "PutItem", "UpdateItem")
WRITES = (*SINGLE_WRITES, "BatchExecuteStatement", "BatchWriteItem", "TransactWriteItems")
TABLE_READS = ("BatchGetItem", "DescribeTable", "GetItem", "Query", "Scan", "TransactGetItems")
EVERYTHING = (*STREAM_READS, *WRITES, *TABLE_READS)


class Fault(StrEnum):
    """What may happen to a call. THROTTLE, FAIL, FAIL_AFTER and CONFLICT may happen to some statements of one only."""

    THROTTLE = "throttle"
    """Refused before its effect, with one of the codes for throttling."""
    FAIL = "fail"
    """A 500 before the effect."""
    CUT = "cut"
    """The connection is closed before the effect."""
    LOSE_REPLY = "lose_reply"
    """It takes effect; then the connection is closed without a reply."""
    FAIL_AFTER = "fail_after"
    """It takes effect; the reply is a 500."""
    CORRUPT = "corrupt"
    """It takes effect; a digit of the reply is another one, and the checksum is that of the right reply."""
    SLOW = "slow"
    """It takes a while, before or after its effect."""
    LATE = "late"
    """The connection is closed at once; the effect comes later."""
    DUPLICATE = "duplicate"
    """It is served; later it takes effect a second time."""
    CONFLICT = "conflict"
    """Refused as if another transaction had locked an item."""
    EXPIRE = "expire"
    """The iterator is too old."""
    EMPTY = "empty"
    """A page without records, although there are some."""
    SHORT = "short"
    """A page of one to a few records."""
    TRIM = "trim"
    """The next records after the iterator are trimmed, one to a few."""
    STALE = "stale"
    """A listing as it was some time ago, but not from before the stream was switched on."""
    SHOW_OPEN = "show_open"
    """Closed shards are listed as open."""
    HIDE = "hide"
    """A new child is not listed for a while; counted under SplitShard."""


SPLIT = "SplitShard"
"""Not an operation of the service: new children are counted under it."""

FITS: dict[Fault, tuple[str, ...]] = {
    Fault.THROTTLE: EVERYTHING,
    Fault.FAIL: EVERYTHING,
    Fault.CUT: EVERYTHING,
    Fault.LOSE_REPLY: EVERYTHING,
    Fault.FAIL_AFTER: EVERYTHING,
    Fault.CORRUPT: EVERYTHING,
    Fault.SLOW: EVERYTHING,
    Fault.LATE: WRITES,
    Fault.DUPLICATE: WRITES,
    Fault.CONFLICT: (*SINGLE_WRITES, "BatchExecuteStatement", "TransactGetItems", "TransactWriteItems"),
    Fault.EXPIRE: ("GetRecords",),
    Fault.EMPTY: ("GetRecords",),
    Fault.SHORT: ("GetRecords",),
    Fault.TRIM: ("GetRecords",),
    Fault.STALE: ("DescribeStream",),
    Fault.SHOW_OPEN: ("DescribeStream",),
    Fault.HIDE: (SPLIT,),
}

IN_THE_REPLY = frozenset({Fault.EXPIRE, Fault.EMPTY, Fault.SHORT, Fault.TRIM, Fault.STALE, Fault.SHOW_OPEN})
"""They change the content of a reply; the others change whether and when it comes. A call may have one of each."""

SECONDS: dict[Fault, tuple[float, float]] = {
    Fault.SLOW: (0.05, 1.0),
    Fault.LATE: (1.0, 15.0),
    Fault.DUPLICATE: (0.1, 15.0),
    Fault.STALE: (1.0, 5.0),
    Fault.HIDE: (0.5, 5.0),
}
"""How long such faults last, unless a rule says otherwise."""


@dataclass(frozen=True)
class Rule:
    """A fault and when it occurs: by chance (`rate`), or at `calls`, numbered from 1 since the rule was set.

    `times`: how often at most. `operations`: only these (empty: all that the fault fits). `tables`: only calls to these
    tables. `seconds`: how long it lasts at least and at most.
    """

    fault: Fault
    rate: float = 1.0
    calls: tuple[int, ...] = ()
    times: int | None = None
    operations: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    seconds: tuple[float, float] | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Rule":
        """A rule from JSON. ValueError or TypeError when it is none."""
        lists = {name: tuple(value) for name, value in document.items() if isinstance(value, list | tuple)}
        rule = cls(**{**document, **lists, "fault": Fault(document["fault"])})
        if unfit := set(rule.operations) - set(FITS[rule.fault]):
            raise ValueError(f"{rule.fault} cannot affect {sorted(unfit)}")
        return rule

    @property
    def affects(self) -> tuple[str, ...]:
        """The operations that may have the fault."""
        return self.operations or FITS[self.fault]


class DrawnFault(NamedTuple):
    """The fault of a call, and how long it lasts."""

    fault: Fault
    seconds: float = 0.0


class Faults:
    """The current rules, and how often each fault occurred."""

    def __init__(self, random: Random) -> None:
        self.counts: Counter[str] = Counter()
        """How often a fault occurred, by `operation/fault`."""
        self._random = random
        self._rules: dict[str, list[int]] = {}
        self._all: tuple[Rule, ...] = ()
        self._seen: Counter[int] = Counter()
        self._occurred: Counter[int] = Counter()

    def set(self, rules: Iterable[Rule]) -> None:
        """Replaces all rules."""
        self._all = tuple(rules)
        self._seen.clear()
        self._occurred.clear()
        self._rules = {}
        for index, rule in enumerate(self._all):
            for operation in rule.affects:
                self._rules.setdefault(operation, []).append(index)

    def draw(
        self, operation: str, tables: Collection[str] | None = None, *, in_the_reply: bool = False
    ) -> DrawnFault | None:
        """The fault of this call, if any: that of the first rule that applies. `tables` None: a call to a stream."""
        for index in self._rules.get(operation, ()):
            rule = self._all[index]
            elsewhere = bool(rule.tables) and tables is not None and not set(rule.tables) & set(tables)
            if (rule.fault in IN_THE_REPLY) is in_the_reply and not elsewhere:
                self._seen[index] += 1
                if self._applies(index, rule):
                    self._occurred[index] += 1
                    self.counts[f"{operation}/{rule.fault}"] += 1
                    return DrawnFault(
                        rule.fault, self._random.uniform(*rule.seconds or SECONDS.get(rule.fault, (0, 0)))
                    )
        return None

    def _applies(self, index: int, rule: Rule) -> bool:
        if rule.times is not None and self._occurred[index] >= rule.times:
            return False
        if rule.calls:
            return self._seen[index] in rule.calls
        return self._random.random() < rule.rate


def all_faults(rate: float, *, without: Collection[Fault] = (Fault.TRIM,), tables: Collection[str] = ()) -> list[Rule]:
    """A rule for each fault at one rate (a commit has nine times that), without trimming, which loses records.

    `without`: what is left out instead. `tables`: calls to other tables have no faults.
    """
    hidden = {Fault.HIDE: 0.5, Fault.SHOW_OPEN: 0.5, Fault.STALE: 0.3}
    return [Rule(fault, hidden.get(fault, rate), tables=tuple(tables)) for fault in Fault if fault not in without]
