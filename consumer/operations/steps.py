"""Operators' commands are generators: a command yields each of its calls as a Step, and is sent the reply.

A command has no I/O of its own. `run` makes its calls over the real ports; tests and the simulation make them in their
own way. A retry makes the yielded step again, so it sends the same request; a crash drops the generator.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from consumer.domain.errors import FailureKind

T = TypeVar("T")


class OperatorCall(StrEnum):
    """The name of a call of an operator's command. No worker's Operation has the same one."""

    LOAD_LEDGER = "op load_ledger"
    READ_MEMBERS = "op read_members"
    READ_BINDINGS = "op read_bindings"
    READ_GAPS = "op read_gaps"
    COUNT_PENDING = "op count_pending"
    FIND_STREAM = "op find_stream"
    LIST_SHARDS = "op list_shards"
    LIST_ENTRIES = "op list_entries"
    READ_ENTRIES = "op read_entries"
    READ_RECORD = "op read_record"
    READ_CLOCK = "op read_clock"
    READ_PROGRESS = "op read_progress"
    GET_SHARD_ITERATOR = "op get_shard_iterator"
    GET_ITERATOR_AT = "op get_iterator_at"
    GET_RECORDS = "op get_records"
    EXAMINE = "op examine"
    APPLY = "op apply"
    DISCARD = "op discard"
    RESUME = "op resume"
    SET_CHECKPOINT = "op set_checkpoint"
    ACKNOWLEDGE = "op acknowledge"
    CHANGE_BINDING = "op change_binding"
    PUT_PROGRESS = "op put_progress"
    COUNT_BATCH = "op count_batch"


@dataclass(frozen=True, slots=True)
class Step:
    """One call: `effect` makes it, `after_seconds` is how long to wait before.

    `answers` are kinds of CallFailed that the command wants to see at once. Any other failure is retried for a while.
    """

    call: OperatorCall
    effect: Callable[[], object]
    after_seconds: float = 0.0
    answers: frozenset[FailureKind] = frozenset()


Command = Generator[Step, Any, T]
"""Yields its calls, is sent their replies, and returns its result. A call's exception is raised at its `yield`."""


def ask(
    call: OperatorCall,
    effect: Callable[[], T],
    after_seconds: float = 0.0,
    answers: frozenset[FailureKind] = frozenset(),
) -> Command[T]:
    """One step of a command, which gets the reply with `yield from`."""
    reply: T = yield Step(call, effect, after_seconds, answers)
    return reply


def run(command: Command[T], make: Callable[[Step], object], wait: Callable[[float], object]) -> T:
    """Makes the command's calls, one after the other. `make` makes one call and retries it, `wait` takes seconds."""
    try:
        step = next(command)
        while True:
            if step.after_seconds > 0:
                wait(step.after_seconds)
            try:
                reply = make(step)
            except Exception as error:  # noqa: BLE001  the command decides: it may be an answer
                step = command.throw(error)
            else:
                step = command.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result
