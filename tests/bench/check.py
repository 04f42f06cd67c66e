"""A measured number beside its limit."""

from collections.abc import Sequence
from typing import NamedTuple

from tests.bench.run import Run


class Check(NamedTuple):
    """`limit` None: told, not judged. `least`: the limit is the least that is right, else the most."""

    what: str
    value: float
    limit: float | None = None
    unit: str = ""
    least: bool = False

    @property
    def ok(self) -> bool:
        """Whether it keeps its limit, if there is one."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def verdict(self) -> str:
        """`ok`, `over`, or nothing."""
        if self.limit is None:
            return ""
        return "ok" if self.ok else "over"


class Report(NamedTuple):
    """What a scenario gave on an engine, or on several."""

    runs: Sequence[Run] = ()
    checks: Sequence[Check] = ()
    notes: Sequence[str] = ()

    def on(self, engine: str) -> "Report":
        """The checks say where."""
        return self._replace(checks=[check._replace(what=f"{engine}: {check.what}") for check in self.checks])

    def and_then(self, other: "Report") -> "Report":
        """Both."""
        return Report([*self.runs, *other.runs], [*self.checks, *other.checks], [*self.notes, *other.notes])
