"""Redrive of one quarantined record: a machine that decodes it again, counts it, or says why it still cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from consumer.domain.audit import Trace
from consumer.domain.leaderboard import Delta
from consumer.domain.outcomes import Done, Refused
from consumer.domain.quarantine import Act, Application, Head, State, Taken
from consumer.domain.records import Game, Poison, Reason, Rules
from consumer.domain.repairs import decode_again
from consumer.operations.acts import Apply, Call, Examine, Examined, Fetch, Fetched, Reply

DAMAGED: Final = "damaged"
"""Stands for a reason where a record's parts are no whole record any more."""
IGNORED: Final = "ignored"
"""Stands for a reason where a record is none that counts."""


@dataclass(frozen=True, slots=True)
class Applied:
    """It is counted, once, by this act."""

    head: Head
    game: Game


@dataclass(frozen=True, slots=True)
class Stayed:
    """It is pending as before: why it cannot count now, as a stable code and a sentence."""

    head: Head
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Faster:
    """Somebody else has dealt with it; `now` is what its row says, None: the row is gone."""

    head: Head
    now: Head | None


Result = Applied | Stayed | Faster


@dataclass(frozen=True, slots=True)
class Repair:
    """What is set in a record before it is decoded again; `only_wrong`: see decode_again."""

    values: Mapping[str, str]
    only_wrong: bool


NO_REPAIR: Final = Repair({}, only_wrong=True)


class Redrive:
    """The machine. `at` (unix seconds) and `token` are fixed now: what is asked again is asked unchanged.

    `act` is what the trace calls it.
    """

    def __init__(
        self, head: Head, repair: Repair, rules: Rules, who: str, at: float, token: str, act: str = "redrive"
    ) -> None:
        self.result: Result | None = None
        self._head = head
        self._repair = repair
        self._rules = rules
        self._who, self._at, self._token, self._act = who, at, token, act
        self._game: Game | None = None
        self._application: Application | None = None
        self._refusal: str | None = None

    def due(self) -> Call | None:
        """Fetch, then apply; examine what the database refuses. None when there is a result."""
        if self.result is not None:
            return None
        if self._game is None or self._application is None:
            return Fetch(self._head)
        return Apply(self._application) if self._refusal is None else Examine(self._game)

    def take(self, reply: Reply) -> None:
        """The reply to the call that is due."""
        match reply:
            case Fetched(wire, fault):
                self._judge(wire, fault)
            case Done():
                assert self._game is not None
                self.result = Applied(self._head, self._game)
            case Taken(now):
                self.result = Faster(self._head, now)
            case Refused(later=later) if later:
                assert self._application is not None
                self._application = replace(self._application, dated=False)
            case Refused(invalid=invalid):
                self._refusal = invalid or "refused without a reason"
            case Examined(verdict):
                reason, detail = verdict or (Reason.REFUSED, f"the database refuses it: {self._refusal}")
                self.result = Stayed(self._head, reason.value, detail)

    def _judge(self, wire: Mapping[str, Any] | None, fault: str) -> None:
        judged = judge(self._head, wire, fault, self._repair, self._rules)
        if isinstance(judged, Stayed):
            self.result = judged
            return
        self._game, repairs = judged
        delta = Delta(1, self._game.score, self._game.date)
        trace = Trace(self._who, self._at, self._act, str(self._head), self._details(self._game, repairs))
        self._application = Application(Act(self._head, self._token, trace), self._game.player, delta, repairs)

    def _details(self, game: Game, repairs: Mapping[str, str]) -> dict[str, str]:
        told = {"outcome": State.APPLIED.value, "player": game.player, "reason": self._head.reason}
        if repairs:
            told["repairs"] = ", ".join(f"{field}={value}" for field, value in sorted(repairs.items()))
        return told


def judge(
    head: Head, wire: Mapping[str, Any] | None, fault: str, repair: Repair, rules: Rules
) -> tuple[Game, dict[str, str]] | Stayed:
    """The game that a record is by the rules of now, and the repairs that made it one; or why it is none."""
    if wire is None:
        return Stayed(head, DAMAGED, fault)
    entry, used = decode_again(wire, repair.values, rules, only_wrong=repair.only_wrong)
    match entry:
        case Game():
            return entry, used
        case Poison(reason=reason, detail=detail):
            return Stayed(head, reason.value, detail)
        case _:
            return Stayed(head, IGNORED, "it is a change or a removal, which never counts")
