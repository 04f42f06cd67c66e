"""A person who runs one command: the machine's calls go out one at a time, and the nemesis strikes them, too."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.domain.errors import ConsumerError, Trouble, TroubleKind
from tests.simulation.nemesis import FAULTS, OPERATOR, Fate, why_not
from tests.simulation.scale import LATEST_NEW_ROW_SECONDS, LATEST_SECONDS

if TYPE_CHECKING:
    from tests.simulation.world import Simulation

ATTEMPTS: Final = 8
"""After which a person gives up; whether the last ones took effect he does not know."""
FATES: Final = {
    kind: tuple(fate for fate in FAULTS if why_not(fate, OPERATOR + kind) is None)
    for kind in (
        *("Fetch", "Examine", "AskMoment", "Open", "Read", "Load", "Look", "Heads", "Births", "OpenAt", "FindRows"),
        *("Apply", "Drop", "Close", "Place", "Amend", "Put", "Count"),
    )
}
OFTENER: Final[Mapping[str, float]] = {
    "Heads": 0.5,
    "Load": 0.3,
    "Look": 0.5,
    "Apply": 1.2,
    "Drop": 1.6,
    "Close": 2.0,
    "Place": 2.5,
    "Amend": 2.5,
    "Examine": 2.0,
    "Count": 2.0,
    "Put": 1.2,
}
"""How much oftener a kind of call is struck than a person's chance says."""
MOST: Final = 0.8
_REFUSED: Final = {Fate.THROTTLED: TroubleKind.THROTTLED, Fate.CONFLICT: TroubleKind.CONFLICT}


class Step(NamedTuple):
    """A call: its kind, what it does when it takes effect, and how long the person waits before it."""

    kind: str
    effect: Callable[[], object]
    pause_seconds: float = 0.0


Script = Generator[Step, Any, None]
"""What a command does: names its steps and is told their replies."""


class Person:
    """`chance`: how often a call is struck. `again`: what is done when the command has crashed."""

    def __init__(
        self, simulation: Simulation, name: str, script: Script, chance: float, again: Callable[[], object]
    ) -> None:
        self._simulation = simulation
        self.name = name
        self._script = script
        self._chance = chance
        self._again = again
        self._counts: dict[str, int] = {}
        self._gone = False

    def begin(self) -> None:
        """Types the command."""
        self._go_on(None)

    def _go_on(self, reply: object) -> None:
        if self._gone:
            return
        try:
            step = self._script.send(reply)
        except StopIteration:
            self._leave("is done")
        except ConsumerError as refusal:
            self._leave(f"is refused: {refusal}")
        else:
            self._simulation.at(self._simulation.now + step.pause_seconds, lambda: self._send(step, 1))

    def _leave(self, why: str) -> None:
        self._gone = True
        self._script.close()
        self._simulation.note(self.name, why)

    def _crash(self) -> None:
        self._leave("!! crashed")
        self._again()

    def _send(self, step: Step, attempt: int) -> None:
        """The same call until it is answered, as the commands do."""
        if self._gone:
            return
        simulation = self._simulation
        fate, there, back, late = self._doom(step.kind)
        simulation.steps[f"{OPERATOR}{step.kind}/{fate.value}"] += 1
        simulation.note(self.name, step.kind, "" if fate is Fate.FINE else fate.value)
        arrives = simulation.now + there
        latest = LATEST_NEW_ROW_SECONDS if step.kind == "Place" else LATEST_SECONDS

        def fail(at: float, kind: TroubleKind = TroubleKind.NETWORK) -> None:
            simulation.at(at, lambda: self._answer(step, attempt, Trouble(kind, "simulated")))

        match fate:
            case Fate.CRASH_BEFORE:
                simulation.at(arrives, self._crash)
            case Fate.LOST_REQUEST | Fate.THROTTLED | Fate.CONFLICT:
                fail(arrives + back, _REFUSED.get(fate, TroubleKind.NETWORK))
            case Fate.LOST_REPLY:
                simulation.at(arrives, lambda: self._take_effect(step))
                fail(arrives + back + late)
            case Fate.LATE:
                simulation.at(arrives + latest * late, lambda: self._take_effect(step))
                fail(arrives + back + 0.5)
            case _:
                if fate is Fate.DUPLICATE:
                    simulation.at(arrives + 0.1 + latest * late, lambda: self._take_effect(step))
                slow = 3 * late if fate is Fate.SLOW else 0.0
                simulation.at(arrives, lambda: self._arrive(step, attempt, back + slow, fate))

    def _arrive(self, step: Step, attempt: int, back: float, fate: Fate) -> None:
        reply = self._take_effect(step)
        if fate is Fate.CRASH_AFTER:
            self._crash()
        self._simulation.at(self._simulation.now + back, lambda: self._answer(step, attempt, reply))

    def _take_effect(self, step: Step) -> object:
        try:
            reply = step.effect()
        except Trouble as trouble:
            reply = trouble
        self._simulation.note("  =>", reply, step.kind)
        return reply

    def _answer(self, step: Step, attempt: int, reply: object) -> None:
        if not isinstance(reply, Trouble):
            self._go_on(reply)
        elif attempt == ATTEMPTS:
            self._leave("gives up")
        else:
            self._simulation.at(self._simulation.now + 0.1 * attempt, lambda: self._send(step, attempt + 1))

    def _doom(self, kind: str) -> tuple[Fate, float, float, float]:
        """What becomes of this person's next call of a kind; every kind has a source of its own (see Dice)."""
        name = f"{self.name} {kind}"
        random = self._simulation.dice.source(name).random
        struck, which, there, back, late = random(), random(), random(), random(), random()
        number = self._counts[kind] = self._counts.get(kind, 0) + 1
        fates = FATES[kind]
        fate: Fate = fates[int(which * len(fates))]
        chance = min(MOST, self._chance * OFTENER.get(kind, 1.0))
        if struck >= chance or not self._simulation.dice.takes_place(f"{name} {number}: {fate.value}"):
            fate = Fate.FINE
        return fate, 0.002 + 0.018 * there, 0.002 + 0.018 * back, late
