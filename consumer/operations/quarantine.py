"""`consumer quarantine`: how an operator selects, re-drives and discards quarantined records.

QuarantineService is what the commands use. Redrive and Discard are machines for one record: each names its next call
and takes the reply; `execute` makes a call over the ports.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any, Final, Protocol

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import NotFound, UnsafeRefused
from consumer.domain.fold import Delta
from consumer.domain.leases import Shard
from consumer.domain.operator_ports import Quarantine
from consumer.domain.ports import Commits
from consumer.domain.position import is_sequence_number
from consumer.domain.quarantine import (
    AlreadyResolved,
    Application,
    EntryState,
    OperatorAction,
    QuarantineEntry,
    QuarantineFilter,
    decode_again,
)
from consumer.domain.records import Game, Poison, Reason, Rules, Verdict
from consumer.domain.replies import Done, Refused
from consumer.operations.shards import find_shard


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetches the whole record."""

    entry: QuarantineEntry


@dataclass(frozen=True, slots=True)
class Apply:
    """Counts the record."""

    application: Application


@dataclass(frozen=True, slots=True)
class Examine:
    """Asks why DynamoDB refuses the game."""

    game: Game


@dataclass(frozen=True, slots=True)
class Drop:
    """Marks the record discarded."""

    action: OperatorAction
    why: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The record in wire form. None: its parts are damaged, as `fault` says."""

    wire: Mapping[str, Any] | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Examined:
    """Why the game can never be applied; None: nothing speaks against it."""

    verdict: Verdict | None


Call = Fetch | Apply | Examine | Drop
Reply = Fetched | Examined | Done | AlreadyResolved | Refused
Ask = Callable[[Call], Reply]
"""Makes a call and retries it. Raises CallFailed when it gives up."""


class Machine(Protocol):
    """A machine without I/O: it names its next call and takes the reply."""

    def due(self) -> Call | None:
        """The next call, the same one until its reply is taken. None: the machine has ended."""
        ...

    def take(self, reply: Reply) -> None:
        """Takes the reply to the call that was due."""
        ...


def execute(call: Call, quarantine: Quarantine, commits: Commits) -> Reply:
    """Makes one call. After CallFailed its outcome is unknown, and the same call can be made again."""
    match call:
        case Fetch(entry):
            try:
                return Fetched(quarantine.record(entry))
            except ValueError as error:
                return Fetched(None, str(error))
        case Apply(application):
            return quarantine.apply(application)
        case Examine(game):
            return Examined(commits.examine(game))
        case Drop(action, why):
            return quarantine.discard(action, why)


def drive(machine: Machine, ask: Ask) -> None:
    """Makes the machine's calls, one after the other, until it ends."""
    while (call := machine.due()) is not None:
        machine.take(ask(call))


DAMAGED: Final = "damaged"
"""In place of a Reason: the record's parts are not a whole record any more."""
IGNORED: Final = "ignored"
"""In place of a Reason: the record is one that never counts."""


@dataclass(frozen=True, slots=True)
class Applied:
    """This action counted the record, once."""

    entry: QuarantineEntry
    game: Game


@dataclass(frozen=True, slots=True)
class StillPoison:
    """The record cannot count now and is pending as before. Why, as a stable code and a sentence."""

    entry: QuarantineEntry
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ChangedConcurrently:
    """Another operator resolved the record first. `now` is its entry now, None: its row is gone."""

    entry: QuarantineEntry
    now: QuarantineEntry | None


Result = Applied | StillPoison | ChangedConcurrently


@dataclass(frozen=True, slots=True)
class Repair:
    """Values to set in a record before it is decoded again, by field. `only_wrong`: see decode_again."""

    values: Mapping[str, str]
    only_wrong: bool


NO_REPAIR: Final = Repair({}, only_wrong=True)


class Redrive:
    """The machine that counts one record. It ends with a `result`.

    `at` (unix seconds) and `token` are given once, so that a retry sends the same request. `action` is the name in the
    audit trail.
    """

    def __init__(
        self,
        entry: QuarantineEntry,
        repair: Repair,
        rules: Rules,
        who: str,
        at: float,
        token: str,
        action: str = "redrive",
    ) -> None:
        self.result: Result | None = None
        self._entry = entry
        self._repair = repair
        self._rules = rules
        self._who, self._at, self._token, self._action = who, at, token, action
        self._game: Game | None = None
        self._application: Application | None = None
        self._refusal: str | None = None

    def due(self) -> Call | None:
        """Fetch, then apply, then examine what DynamoDB refuses. None: there is a result."""
        if self.result is not None:
            return None
        if self._game is None or self._application is None:
            return Fetch(self._entry)
        return Apply(self._application) if self._refusal is None else Examine(self._game)

    def take(self, reply: Reply) -> None:
        """Takes the reply to the call that was due."""
        match reply:
            case Fetched(wire, fault):
                self._judge(wire, fault)
            case Done():
                assert self._game is not None
                self.result = Applied(self._entry, self._game)
            case AlreadyResolved(now):
                self.result = ChangedConcurrently(self._entry, now)
            case Refused(later=later) if later:
                assert self._application is not None
                self._application = replace(self._application, dated=False)
            case Refused(invalid=invalid):
                self._refusal = invalid or "refused without a reason"
            case Examined(verdict):
                reason, detail = verdict or (Reason.REFUSED, f"DynamoDB refuses it: {self._refusal}")
                self.result = StillPoison(self._entry, reason.value, detail)

    def _judge(self, wire: Mapping[str, Any] | None, fault: str) -> None:
        judged = judge(self._entry, wire, fault, self._repair, self._rules)
        if isinstance(judged, StillPoison):
            self.result = judged
            return
        game, repairs = judged
        self._game = game
        detail = {"outcome": EntryState.APPLIED.value, "player": game.player, "reason": self._entry.reason}
        if repairs:
            detail["repairs"] = ", ".join(f"{field}={value}" for field, value in sorted(repairs.items()))
        audit_entry = AuditEntry(self._who, self._at, self._action, str(self._entry), detail)
        action = OperatorAction(self._entry, self._token, audit_entry)
        self._application = Application(action, game.player, Delta(1, game.score, game.date), repairs)


def judge(
    entry: QuarantineEntry, wire: Mapping[str, Any] | None, fault: str, repair: Repair, rules: Rules
) -> tuple[Game, dict[str, str]] | StillPoison:
    """The game that a record is by the current rules, and the repairs that made it one; or why it is none."""
    if wire is None:
        return StillPoison(entry, DAMAGED, fault)
    decoded, used = decode_again(wire, repair.values, rules, only_wrong=repair.only_wrong)
    match decoded:
        case Game():
            return decoded, used
        case Poison(reason=reason, detail=detail):
            return StillPoison(entry, reason.value, detail)
        case _:
            return StillPoison(entry, IGNORED, "it is a change or a removal, which never counts")


@dataclass(frozen=True, slots=True)
class Discarded:
    """This action discarded the record."""

    entry: QuarantineEntry


class Discard:
    """The machine that discards one record, with one call. It ends with a `result`."""

    def __init__(self, entry: QuarantineEntry, why: str, who: str, at: float, token: str) -> None:
        self.result: Discarded | ChangedConcurrently | None = None
        detail = {"outcome": EntryState.DISCARDED.value, "why": why, "reason": entry.reason}
        detail |= {"player": entry.player} if entry.player is not None else {}
        self._entry = entry
        self._call = Drop(OperatorAction(entry, token, AuditEntry(who, at, "discard", str(entry), detail)), why)

    def due(self) -> Call | None:
        """The one call, until its reply is taken."""
        return self._call if self.result is None else None

    def take(self, reply: Reply) -> None:
        """Takes the reply to the call that was due."""
        match reply:
            case Done():
                self.result = Discarded(self._entry)
            case AlreadyResolved(now):
                self.result = ChangedConcurrently(self._entry, now)


Watch = Callable[[Iterator[QuarantineEntry], int], Iterable[QuarantineEntry]]
"""Passes the entries through, and may show progress. The total (the second argument) is 0: not known."""

_FOUND_BY_DYNAMODB: Final = (Reason.TOTAL_TYPE, Reason.TOTAL_OVERFLOW, Reason.DATE_TYPE, Reason.REFUSED)
"""Reasons that decoding alone does not find."""
_WIDE: Final = Context(prec=400)
"""Enough digits for the exact sum of any numbers that DynamoDB can hold."""


@dataclass(frozen=True)
class QuarantineService:
    """The quarantine, and what an operator action needs.

    `shards` reads the shards that the lease table knows, and is called rarely. `who` is the operator's name, `now` unix
    seconds, `token` returns a new unique token. Every method may raise CallFailed.
    """

    quarantine: Quarantine
    ask: Ask
    shards: Callable[[], Collection[Shard]]
    who: Callable[[], str]
    now: Callable[[], float]
    token: Callable[[], str]
    rules: Rules = Rules()  # noqa: RUF009  it is frozen

    def select(self, filter_: QuarantineFilter, watch: Watch) -> list[QuarantineEntry]:
        """The entries that match, in order. Raises NotFound for an unknown shard."""
        known = False
        selected = []
        for entry in watch(self.quarantine.entries(filter_.shard_id), 0):
            known = known or filter_.matches_shard(entry)
            if filter_.matches(entry):
                selected.append(entry)
        if filter_.shard is not None and not known:
            self._require_shard(filter_.shard)
        return sorted(selected, key=lambda entry: entry.order)

    def find(self, shard: str, sequence_number: str) -> QuarantineEntry:
        """The entry of one record. Raises NotFound, with the nearest one that there is."""
        filter_, shard_id = QuarantineFilter(shard), shard.rpartition("/")[2]
        entry = self.quarantine.entry(shard_id, sequence_number)
        if entry is not None and is_sequence_number(sequence_number) and filter_.matches_shard(entry):
            return entry
        of_shard = [entry for entry in self.quarantine.entries(shard_id) if filter_.matches_shard(entry)]
        if not of_shard:
            self._require_shard(shard)
            raise NotFound(f"no record of shard {shard!r} is in quarantine")
        nearest = min(of_shard, key=lambda entry: abs(int(entry.sequence_number) - int(sequence_number)))
        raise NotFound(
            f"record {sequence_number} of shard {shard!r} is not in quarantine: of the {len(of_shard)} that are, the "
            f"nearest one is {nearest.sequence_number}"
        )

    def record(self, entry: QuarantineEntry) -> Mapping[str, Any] | None:
        """The whole record in wire form. None: its parts are damaged."""
        reply = self.ask(Fetch(entry))
        assert isinstance(reply, Fetched)
        return reply.wire

    def redrive(self, entry: QuarantineEntry, repair: Repair) -> Result:
        """Counts one record, or says why it does not count."""
        machine = Redrive(entry, repair, self.rules, self.who(), self.now(), self.token())
        drive(machine, self.ask)
        assert machine.result is not None
        return machine.result

    def dry_run(self, entry: QuarantineEntry, repair: Repair) -> Game | StillPoison:
        """What a redrive would count, or why it would not. Nothing is written."""
        reply = self.ask(Fetch(entry))
        assert isinstance(reply, Fetched)
        judged = judge(entry, reply.wire, reply.fault, repair, self.rules)
        if isinstance(judged, StillPoison):
            return judged
        game, _ = judged
        if entry.reason in _FOUND_BY_DYNAMODB:
            examined = self.ask(Examine(game))
            if isinstance(examined, Examined) and examined.verdict is not None:
                reason, detail = examined.verdict
                return StillPoison(entry, reason.value, detail)
        return game

    def discard(self, entry: QuarantineEntry, why: str) -> Discarded | ChangedConcurrently:
        """Marks one record as one that never counts."""
        machine = Discard(entry, why, self.who(), self.now(), self.token())
        drive(machine, self.ask)
        assert machine.result is not None
        return machine.result

    def _require_shard(self, name: str) -> None:
        known = {entry.shard for entry in self.quarantine.entries()} | set(self.shards())
        find_shard(name, known)


def require_pending(entry: QuarantineEntry | None, what: str) -> None:
    """Raises UnsafeRefused, which says how the record was resolved, unless it is pending."""
    if entry is None:
        raise UnsafeRefused(f"{what}: its row is gone")
    if entry.state == EntryState.PENDING:
        return
    by = f" by {entry.resolution.by} at {entry.resolution.at}" if entry.resolution and entry.resolution.by else ""
    raise UnsafeRefused(f"record {entry} is {entry.state} already{by}: {what}")


def folded(games: Iterable[Game]) -> dict[str, Delta]:
    """What each player gets for these games, by player, exactly."""
    deltas: dict[str, Delta] = {}
    for game in games:
        add_game(deltas, game)
    return dict(sorted(deltas.items()))


def add_game(deltas: dict[str, Delta], game: Game) -> None:
    """Adds one game, exactly."""
    games, total, date = deltas.get(game.player, Delta(0, Decimal(0), game.date))
    deltas[game.player] = Delta(games + 1, _WIDE.add(total, game.score), max(date, game.date))
