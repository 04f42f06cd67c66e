"""How a command runs: replies and exceptions reach it at its `yield`, and it waits where it says."""

import pytest

from consumer.domain.errors import CallFailed, FailureKind, IteratorExpired
from consumer.operations.steps import Command, OperatorCall, Step, ask, run
from tests.support.commands import make


def no_wait(seconds: float) -> None:
    raise AssertionError(seconds)


def test_replies_are_sent_and_the_result_is_returned() -> None:
    def command() -> Command[int]:
        first = yield from ask(OperatorCall.READ_CLOCK, lambda: 1)
        return first + (yield from ask(OperatorCall.READ_CLOCK, lambda: 2))

    assert run(command(), make, no_wait) == 3


def test_a_command_without_calls() -> None:
    def command() -> Command[str]:
        yield from ()
        return "nothing to do"

    assert run(command(), make, no_wait) == "nothing to do"


def test_it_waits_before_the_call() -> None:
    happened: list[object] = []
    run(ask(OperatorCall.READ_CLOCK, lambda: happened.append("call"), 2.5), make, happened.append)
    assert happened == [2.5, "call"]


def test_an_exception_is_raised_where_the_command_made_the_call() -> None:
    def expired() -> int:
        raise IteratorExpired

    def command() -> Command[int]:
        try:
            return (yield from ask(OperatorCall.GET_RECORDS, expired))
        except IteratorExpired:
            return (yield from ask(OperatorCall.GET_RECORDS, lambda: 7))

    assert run(command(), make, no_wait) == 7


def test_a_failure_that_the_command_does_not_expect_leaves_it() -> None:
    cleaned_up = []

    def fail(_: Step) -> object:
        raise CallFailed(FailureKind.DENIED, "no")

    def command() -> Command[None]:
        try:
            yield from ask(OperatorCall.APPLY, lambda: None)
        finally:
            cleaned_up.append(True)

    with pytest.raises(CallFailed, match="denied: no"):
        run(command(), fail, no_wait)
    assert cleaned_up == [True]
