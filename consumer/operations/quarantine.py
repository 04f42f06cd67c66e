"""`consumer quarantine`: how an operator selects, re-drives and discards quarantined records."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from functools import partial
from typing import Any, Final

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import NotFound, UnsafeRefused
from consumer.domain.fold import Delta
from consumer.domain.leases import Shard, is_sequence_number
from consumer.domain.operator_ports import Quarantine
from consumer.domain.ports import Commits
from consumer.domain.quarantine import (
    AlreadyResolved,
    Application,
    EntryState,
    OperatorAction,
    QuarantineEntry,
    QuarantineFilter,
    decode_again,
)
from consumer.domain.records import Game, Poison, Reason, Rules
from consumer.domain.replies import Done, Refused
from consumer.operations.steps import Command, OperatorCall, ask, find_shard

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


@dataclass(frozen=True, slots=True)
class Discarded:
    """This action discarded the record."""

    entry: QuarantineEntry


Watch = Callable[[Iterator[QuarantineEntry], int], Iterable[QuarantineEntry]]
"""Passes the entries through, and may show progress. The total (the second argument) is 0: not known."""

_FOUND_BY_DYNAMODB: Final = (Reason.TOTAL_TYPE, Reason.TOTAL_OVERFLOW, Reason.DATE_TYPE, Reason.REFUSED)
"""Reasons that decoding alone does not find."""
_WIDE: Final = Context(prec=400)
"""Enough digits for the exact sum of any numbers that DynamoDB can hold."""


@dataclass(frozen=True)
class QuarantineService:
    """The commands of the quarantine.

    `shards` reads the shards that the lease table knows, and is called rarely. `who` is the operator's name, `now` unix
    seconds, `token` returns a new unique token.
    """

    quarantine: Quarantine
    commits: Commits
    shards: Callable[[], Collection[Shard]]
    who: Callable[[], str]
    now: Callable[[], float]
    token: Callable[[], str]
    rules: Rules = Rules()  # noqa: RUF009  it is frozen

    def select(self, filter_: QuarantineFilter, watch: Watch) -> Command[list[QuarantineEntry]]:
        """The entries that match, in order. Raises NotFound for an unknown shard."""

        def read() -> list[QuarantineEntry]:
            entries = watch(self.quarantine.entries(filter_.shard_id), 0)
            return [entry for entry in entries if filter_.matches_shard(entry)]

        of_shard = yield from ask(OperatorCall.LIST_ENTRIES, read)
        if filter_.shard is not None and not of_shard:
            yield from self._require_shard(filter_.shard)
        return sorted(filter(filter_.matches, of_shard), key=lambda entry: entry.order)

    def find(self, shard: str, sequence_number: str) -> Command[QuarantineEntry]:
        """The entry of one record. Raises NotFound, with the nearest one that there is."""
        filter_, shard_id = QuarantineFilter(shard), shard.rpartition("/")[2]
        entry = yield from ask(OperatorCall.READ_ENTRIES, partial(self.quarantine.entry, shard_id, sequence_number))
        if entry is not None and is_sequence_number(sequence_number) and filter_.matches_shard(entry):
            return entry
        entries = yield from ask(OperatorCall.READ_ENTRIES, lambda: list(self.quarantine.entries(shard_id)))
        of_shard = [entry for entry in entries if filter_.matches_shard(entry)]
        if not of_shard:
            yield from self._require_shard(shard)
            raise NotFound(f"no record of shard {shard!r} is in quarantine")
        nearest = min(of_shard, key=lambda entry: abs(int(entry.sequence_number) - int(sequence_number)))
        raise NotFound(
            f"record {sequence_number} of shard {shard!r} is not in quarantine: of the {len(of_shard)} that are, the "
            f"nearest one is {nearest.sequence_number}"
        )

    def record(self, entry: QuarantineEntry) -> Command[Mapping[str, Any] | None]:
        """The whole record in wire form. None: its parts are damaged."""
        try:
            return (yield from ask(OperatorCall.READ_RECORD, partial(self.quarantine.record, entry)))
        except ValueError:
            return None

    def redrive(self, entry: QuarantineEntry, repair: Repair, action: str = "redrive") -> Command[Result]:
        """Counts one record, or says why it does not count. `action` is the name in the audit trail."""
        who, at, token = self.who(), self.now(), self.token()
        decoded = yield from self._decode(entry, repair)
        if isinstance(decoded, StillPoison):
            return decoded
        game, repairs = decoded
        detail = {"outcome": EntryState.APPLIED.value, "player": game.player, "reason": entry.reason}
        if repairs:
            detail["repairs"] = ", ".join(f"{field}={value}" for field, value in sorted(repairs.items()))
        by_operator = OperatorAction(entry, token, AuditEntry(who, at, action, str(entry), detail))
        application = Application(by_operator, game.player, Delta(1, game.score, game.date), repairs)
        reply = yield from ask(OperatorCall.APPLY, partial(self.quarantine.apply, application))
        while isinstance(reply, Refused) and reply.later:
            application = replace(application, dated=False)
            reply = yield from ask(OperatorCall.APPLY, partial(self.quarantine.apply, application))
        match reply:
            case Done():
                return Applied(entry, game)
            case AlreadyResolved(now):
                return ChangedConcurrently(entry, now)
            case Refused(invalid=invalid):
                verdict = yield from ask(OperatorCall.EXAMINE, partial(self.commits.examine, game))
                refusal = f"DynamoDB refuses it: {invalid or 'refused without a reason'}"
                reason, why = verdict or (Reason.REFUSED, refusal)
                return StillPoison(entry, reason.value, why)

    def dry_run(self, entry: QuarantineEntry, repair: Repair) -> Command[Game | StillPoison]:
        """What a redrive would count, or why it would not. Nothing is written."""
        decoded = yield from self._decode(entry, repair)
        if isinstance(decoded, StillPoison):
            return decoded
        game, _ = decoded
        if entry.reason in _FOUND_BY_DYNAMODB:
            verdict = yield from ask(OperatorCall.EXAMINE, partial(self.commits.examine, game))
            if verdict is not None:
                return StillPoison(entry, verdict[0].value, verdict[1])
        return game

    def discard(self, entry: QuarantineEntry, why: str) -> Command[Discarded | ChangedConcurrently]:
        """Marks one record as one that never counts, with one call."""
        detail = {"outcome": EntryState.DISCARDED.value, "why": why, "reason": entry.reason}
        detail |= {"player": entry.player} if entry.player is not None else {}
        audit_entry = AuditEntry(self.who(), self.now(), "discard", str(entry), detail)
        action = OperatorAction(entry, self.token(), audit_entry)
        reply = yield from ask(OperatorCall.DISCARD, partial(self.quarantine.discard, action, why))
        return ChangedConcurrently(entry, reply.entry) if isinstance(reply, AlreadyResolved) else Discarded(entry)

    def _decode(self, entry: QuarantineEntry, repair: Repair) -> Command[tuple[Game, dict[str, str]] | StillPoison]:
        """The game that a record is by the current rules, and the repairs that made it one; or why it is none."""
        try:
            wire = yield from ask(OperatorCall.READ_RECORD, partial(self.quarantine.record, entry))
        except ValueError as fault:
            return StillPoison(entry, DAMAGED, str(fault))
        decoded, used = decode_again(wire, repair.values, self.rules, only_wrong=repair.only_wrong)
        match decoded:
            case Game():
                return decoded, used
            case Poison(reason=reason, detail=detail):
                return StillPoison(entry, reason.value, detail)
            case _:
                return StillPoison(entry, IGNORED, "it is a change or a removal, which never counts")

    def _require_shard(self, name: str) -> Command[None]:
        entries = yield from ask(OperatorCall.LIST_ENTRIES, lambda: list(self.quarantine.entries()))
        in_ledger = yield from ask(OperatorCall.LOAD_LEDGER, self.shards)
        find_shard(name, {entry.shard for entry in entries} | set(in_ledger))


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
