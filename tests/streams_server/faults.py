"""Which calls meet which fault: rules, drawn from one seeded random source, and a count of what was done."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from tests.streams_server.fault import FITS, IN_THE_ANSWER, SECONDS, Fault


@dataclass(frozen=True)
class Rule:
    """A fault and when it strikes: by chance (`rate`), or at `calls`, numbered from 1 since the rule was set.

    `times` bounds how often. `operations` narrows it down (empty: all that the fault fits), and so does `tables`, for
    calls to tables. `seconds` is how long it lasts at least and at most.
    """

    fault: Fault
    rate: float = 1.0
    calls: tuple[int, ...] = ()
    times: int | None = None
    operations: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    seconds: tuple[float, float] | None = None

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Rule":
        """From JSON. ValueError or TypeError for what is no rule."""
        lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list | tuple)}
        rule = cls(**{**told, **lists, "fault": Fault(told["fault"])})
        if strange := set(rule.operations) - set(FITS[rule.fault]):
            raise ValueError(f"{rule.fault} cannot befall {sorted(strange)}")
        return rule

    @property
    def befalls(self) -> tuple[str, ...]:
        """The operations it strikes."""
        return self.operations or FITS[self.fault]


class Struck(NamedTuple):
    """A fault that strikes, and for how long."""

    fault: Fault
    seconds: float = 0.0


class Faults:
    """The rules of now."""

    def __init__(self, random: Random) -> None:
        self.counts: Counter[str] = Counter()
        """`operation/fault`: how often it struck."""
        self._random = random
        self._rules: dict[str, list[int]] = {}
        self._all: tuple[Rule, ...] = ()
        self._seen: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()

    def set(self, rules: Iterable[Rule]) -> None:
        """These and no others from now on."""
        self._all = tuple(rules)
        self._seen.clear()
        self._struck.clear()
        self._rules = {}
        for index, rule in enumerate(self._all):
            for operation in rule.befalls:
                self._rules.setdefault(operation, []).append(index)

    def strikes(
        self, operation: str, tables: Collection[str] | None = None, *, in_the_answer: bool = False
    ) -> Struck | None:
        """The fault that this call meets, if any: the first rule that hits. `tables` None: it is of no table."""
        for index in self._rules.get(operation, ()):
            rule = self._all[index]
            elsewhere = bool(rule.tables) and tables is not None and not set(rule.tables) & set(tables)
            if (rule.fault in IN_THE_ANSWER) is in_the_answer and not elsewhere:
                self._seen[index] += 1
                if self._hits(index, rule):
                    self._struck[index] += 1
                    self.counts[f"{operation}/{rule.fault}"] += 1
                    return Struck(rule.fault, self._random.uniform(*rule.seconds or SECONDS.get(rule.fault, (0, 0))))
        return None

    def _hits(self, index: int, rule: Rule) -> bool:
        if rule.times is not None and self._struck[index] >= rule.times:
            return False
        if rule.calls:
            return self._seen[index] in rule.calls
        return self._random.random() < rule.rate


def everything(rate: float, *, but: Collection[Fault] = (Fault.TRIM,), tables: Collection[str] = ()) -> list[Rule]:
    """All faults at one rate each (a commit meets nine times that); only trimming, which loses records, is left out.

    `but` says what to leave out instead. `tables` spares all others, such as a source that a test itself writes to.
    """
    hidden = {Fault.HIDE: 0.5, Fault.SHOW_OPEN: 0.5, Fault.STALE: 0.3}
    return [Rule(fault, hidden.get(fault, rate), tables=tuple(tables)) for fault in Fault if fault not in but]
