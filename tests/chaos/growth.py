"""How the tree of shards grows while records are written."""

from tests.chaos.plan import Plan
from tests.streams_server import Fault, Remote

_HIDDEN_SECONDS = (0.5, 12.0)
_SHOWN_OPEN_SECONDS = (0.5, 10.0)
_UNTIL = 0.97
"""After this part of the records nothing grows any more: the last shards get some too."""


class Growth:
    """Splits, roll-overs and splits in three, some within a moment of one another; children show when they like."""

    def __init__(self, plan: Plan, remote: Remote, roots: list[str]) -> None:
        self.open = list(roots)
        self._random = plan.random("growth")
        self._hides = Fault.HIDE not in plan.but
        self._pace = plan.pace
        self._remote = remote
        births: list[int] = []
        while len(roots) + sum(births) < plan.shards:
            births.append(self._random.choices((2, 1, 3), plan.births)[0])
        moments = sorted(self._random.uniform(0, _UNTIL * plan.records) for _ in births)
        self._due = list(zip(moments, births, strict=True))

    def grow(self, written: int) -> None:
        """All that is due after so many records."""
        while self._due and self._due[0][0] <= written:
            _, births = self._due.pop(0)
            parent = self.open.pop(self._random.randrange(len(self.open)))
            children = self._remote.split(parent, births)
            self.open += children
            self._disguise(parent, children)

    def _disguise(self, parent: str, children: list[str]) -> None:
        """Listings are late: with a child, without its sibling, with its parent open."""
        for child in children:
            seconds = self._pace * self._random.uniform(*_HIDDEN_SECONDS)
            if self._random.random() < 0.3 and self._hides:
                self._remote.hide([child], seconds)
        if self._random.random() < 0.3:
            self._remote.show_open([parent], self._pace * self._random.uniform(*_SHOWN_OPEN_SECONDS))
