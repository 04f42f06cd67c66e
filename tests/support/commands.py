"""Drives operators' commands over fakes: to their end at once, or call by call with replies that a test chooses."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from consumer.domain.errors import CallFailed, DataTrimmed, IteratorExpired
from consumer.operations.steps import Command, OperatorCall, Step, run

T = TypeVar("T")
_MADE: Final = object()


def make(step: Step) -> object:
    """Makes a call once."""
    return step.effect()


def make_twice(step: Step) -> object:
    """The call takes effect, its reply is lost, and it is made again."""
    step.effect()
    return step.effect()


def finish(
    command: Command[T],
    make: Callable[[Step], object] = make,
    wait: Callable[[float], object] = lambda _: None,
) -> T:
    """The command's result."""
    return run(command, make, wait)


class CommandDriver(Generic[T]):
    """A command, stopped before its next call. `step` None: it has ended with `result`."""

    def __init__(self, command: Command[T]) -> None:
        self.step: Step | None = None
        self._command = command
        self._result: T | None = None
        self._proceed(lambda: next(command))

    @property
    def due(self) -> OperatorCall | None:
        """The name of the next call."""
        return self.step.call if self.step is not None else None

    @property
    def result(self) -> T | None:
        """What the command has returned."""
        assert self.step is None, f"it waits for the reply to {self.step}"
        return self._result

    def make(self) -> object:
        """Makes the next call; the command does not learn its reply."""
        assert self.step is not None
        return self.step.effect()

    def answer(self, reply: object = _MADE) -> "CommandDriver[T]":
        """Goes on with this reply, or exception, to the next call; without one the call is made."""
        if reply is _MADE:
            try:
                reply = self.make()
            except (CallFailed, DataTrimmed, IteratorExpired) as error:
                reply = error
        if isinstance(reply, Exception):
            self._proceed(lambda: self._command.throw(reply))
        else:
            self._proceed(lambda: self._command.send(reply))
        return self

    def answer_until(self, call: OperatorCall) -> "CommandDriver[T]":
        """Makes all calls up to the next one of that name."""
        while self.due not in (call, None):
            self.answer()
        assert self.due == call
        return self

    def answer_while(self, waiting: Callable[[], bool]) -> "CommandDriver[T]":
        """Makes calls until that is no longer so."""
        while waiting():
            assert self.step is not None
            self.answer()
        return self

    def finish(self) -> T | None:
        """Makes the calls that are left."""
        while self.step is not None:
            self.answer()
        return self.result

    def _proceed(self, go_on: Callable[[], Step]) -> None:
        try:
            self.step = go_on()
        except StopIteration as end:
            self.step, self._result = None, end.value
