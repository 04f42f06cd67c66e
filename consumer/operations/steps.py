"""What all operators' commands have: their calls as steps, and the shard that an operator names.

Operators' commands are generators: a command yields each of its calls as a Step, and is sent the reply. A command has
no I/O of its own. `run` makes its calls over the real ports; tests and the simulation make them in their own way. A
retry makes the yielded step again, so it sends the same request; a crash drops the generator.
"""

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, TypeVar

from consumer.domain.errors import FailureKind, NotFound
from consumer.domain.leases import LeaseRow, Ledger, Shard

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
    READ_ITEMS = "op read_items"
    READ_CLOCK = "op read_clock"
    READ_PROGRESS = "op read_progress"
    READ_ROW = "op read_row"
    GET_SHARD_ITERATOR = "op get_shard_iterator"
    GET_ITERATOR_AT = "op get_iterator_at"
    GET_RECORDS = "op get_records"
    EXAMINE = "op examine"
    APPLY = "op apply"
    DISCARD = "op discard"
    RESTORE = "op restore"
    RESUME = "op resume"
    SET_CHECKPOINT = "op set_checkpoint"
    ACKNOWLEDGE = "op acknowledge"
    CHANGE_BINDING = "op change_binding"
    ACCEPT_RULES = "op accept_rules"
    PUT_PROGRESS = "op put_progress"
    COUNT_BATCH = "op count_batch"
    DESCRIBE_TABLE = "op describe_table"
    READ_GAMES = "op read_games"
    READ_BOARD = "op read_board"
    READ_NOTES = "op read_notes"


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


MOST_OFFERED: Final = 3
"""Names of similar shards in an error."""


def find_shard(name: str, known: Collection[Shard]) -> Shard:
    """The shard of that name: a shard id, or label/id. Raises NotFound, with the nearest names that there are."""
    exact = [shard for shard in known if name in (shard.shard_id, str(shard))]
    if len(exact) == 1:
        return exact[0]
    if exact:
        names = " or ".join(sorted(map(str, exact)))
        raise NotFound(f"{name!r} is a shard of {len(exact)} streams: name {names}")
    near = get_close_matches(
        name, sorted({shard.shard_id for shard in known} | set(map(str, known))), n=MOST_OFFERED, cutoff=0.3
    )
    hint = f": the nearest ones are {', '.join(near)}" if near else ", and no similar one is known"
    raise NotFound(f"there is no shard {name!r}{hint}")


def find_in_ledger(ledger: Ledger, name: str) -> tuple[Shard, LeaseRow | None]:
    """The shard of that name, and its row unless that is missing. Raises NotFound."""
    known = ledger.known_shards
    if not known:
        raise NotFound("the lease table knows no shard: no worker has run with it yet")
    shard = find_shard(name, known)
    return shard, ledger.row(shard)


def find_row(ledger: Ledger, name: str) -> LeaseRow:
    """The row of the shard of that name. Raises NotFound, also when the row is missing."""
    shard, row = find_in_ledger(ledger, name)
    if row is None:
        raise NotFound(
            f"the row of shard {shard} is missing from the lease table, and with it how far the shard was counted. The "
            "worker has logged the last position that it knew, in the event shard.halted. Next: "
            f"`consumer checkpoint set {shard} POSITION`"
        )
    return row
