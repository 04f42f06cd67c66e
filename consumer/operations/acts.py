"""A person's acts on quarantined records as calls and replies; `perform` makes them over the ports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.domain.operator_ports import Quarantine
from consumer.domain.outcomes import Done, Refused
from consumer.domain.ports import Commits
from consumer.domain.quarantine import Act, Application, Head, Taken
from consumer.domain.records import Game, Verdict


@dataclass(frozen=True, slots=True)
class Fetch:
    """The whole record."""

    head: Head


@dataclass(frozen=True, slots=True)
class Apply:
    """Count it."""

    application: Application


@dataclass(frozen=True, slots=True)
class Examine:
    """Why the database refuses it."""

    game: Game


@dataclass(frozen=True, slots=True)
class Drop:
    """Never count it."""

    act: Act
    why: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The record in wire form; None: its parts are damaged, which `fault` tells."""

    wire: Mapping[str, Any] | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Examined:
    """None: nothing speaks against it."""

    verdict: Verdict | None


Call = Fetch | Apply | Examine | Drop
Reply = Fetched | Examined | Done | Taken | Refused
Ask = Callable[[Call], Reply]
"""Makes a call until it is answered. Raises Trouble when it is given up."""


class Machine(Protocol):
    """Names its next call, the same one until it is told the reply; None: it has ended."""

    def due(self) -> Call | None:
        """The call to be made."""
        ...

    def take(self, reply: Reply) -> None:
        """The reply to the call that is due."""
        ...


def perform(call: Call, quarantine: Quarantine, commits: Commits) -> Reply:
    """Makes one call. Raises Trouble, which leaves open whether it took effect: make the same one again."""
    match call:
        case Fetch(head):
            try:
                return Fetched(quarantine.record(head))
            except ValueError as error:
                return Fetched(None, str(error))
        case Apply(application):
            return quarantine.apply(application)
        case Examine(game):
            return Examined(commits.examine(game))
        case Drop(act, why):
            return quarantine.discard(act, why)


def drive(machine: Machine, ask: Ask) -> None:
    """Makes a machine's calls, one after the other, until it has ended."""
    while (call := machine.due()) is not None:
        machine.take(ask(call))
