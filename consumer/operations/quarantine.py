"""`consumer quarantine`: how an operator selects quarantined records, and counts, discards and restores them.

Several records are one transaction, each of them under the condition that it still has the state that was read. What
one of them is refused for makes the batch smaller; that one record stays, and the others count.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from consumer.domain.audit import AuditEntry
from consumer.domain.corrections import ItemWrite
from consumer.domain.errors import NotFound, UnsafeRefused
from consumer.domain.fold import Delta, add_to, delta_of
from consumer.domain.leases import Shard, TableBinding, is_sequence_number
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
    field_of,
    value_of,
)
from consumer.domain.records import Correction, Corrections, Game, Ignored, Poison, Reason, Rules, without_expired
from consumer.domain.replies import Done, Refused
from consumer.operations.corrections import (
    MEND_THE_ITEM,
    NOT_LAST,
    RecordItem,
    correction_of,
    deltas_of,
    image_again,
    read_record_items,
)
from consumer.operations.settling import WINDOW, Together, actions_of, chunks, lanes, settle
from consumer.operations.steps import Command, OperatorCall, ask, find_shard

DAMAGED: Final = "damaged"
"""In place of a Reason: the record's parts are not a whole record any more."""
IGNORED: Final = "ignored"
"""In place of a Reason: the record is one that never counts."""


@dataclass(frozen=True, slots=True)
class Applied:
    """This action counted the record, once."""

    entry: QuarantineEntry
    change: Game | Correction


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
    """Values to set in a record before it is decoded again, by field. `only_wrong`, `converts`: see decode_again."""

    values: Mapping[str, str]
    only_wrong: bool
    converts: frozenset[str] = frozenset()


NO_REPAIR: Final = Repair({}, only_wrong=True)


@dataclass(frozen=True, slots=True)
class Discarded:
    """This action discarded the record."""

    entry: QuarantineEntry


@dataclass(frozen=True, slots=True)
class Restored:
    """This action made the record pending again."""

    entry: QuarantineEntry


@dataclass(frozen=True, slots=True)
class Expired:
    """The record cannot be restored: parts of it have expired. Why, as a sentence."""

    entry: QuarantineEntry
    detail: str


class Described(NamedTuple):
    """A quarantined record for an operator's eyes: the value that makes it poison, and its item's key.

    Both in DynamoDB JSON. None: it has no such value, or its parts are damaged.
    """

    entry: QuarantineEntry
    value: Any
    key: Mapping[str, Any] | None


class Countable(NamedTuple):
    """A quarantined record that counts by these rules, with these repairs: as a game, or as a correction.

    `deltas` are what it adds to the rows of players. `came` are the values that the repairs replace, in DynamoDB JSON,
    by field; None: there is none. `item`: see OperatorAction. The change has lost its record: so many are small.
    """

    entry: QuarantineEntry
    change: Game | Correction
    deltas: Mapping[str, Delta]
    repairs: Mapping[str, str] = {}
    came: Mapping[str, Any] = {}
    item: ItemWrite | None = None


Watch = Callable[[Iterator[QuarantineEntry], int], Iterable[QuarantineEntry]]
"""Passes the entries through, and may show progress. The total (the second argument) is 0: not known."""

_FOUND_BY_DYNAMODB: Final = (Reason.TOTAL_TYPE, Reason.TOTAL_OVERFLOW, Reason.DATE_TYPE, Reason.REFUSED)
"""Reasons that decoding alone does not find."""


@dataclass(frozen=True)
class QuarantineService:
    """The commands of the quarantine.

    `shards` reads the shards that the lease table knows, and is called rarely. `who` is the operator's name, `now` unix
    seconds, `token` returns a new unique token. Records are read by `rules`. `board` is the configured leaderboard
    table. A record that is settled has `actions_per_part` more actions in its transaction for each part.
    """

    quarantine: Quarantine
    commits: Commits
    shards: Callable[[], Collection[Shard]]
    who: Callable[[], str]
    now: Callable[[], float]
    token: Callable[[], str]
    rules: Rules = Rules()  # noqa: RUF009  it is frozen
    board: str = ""
    actions_per_part: int = 0

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

    def records(self, entries: Sequence[QuarantineEntry]) -> Command[list[Mapping[str, Any] | None]]:
        """Their whole records in wire form, in order; None: its parts are missing or damaged."""
        wires = yield from ask(OperatorCall.READ_RECORD, partial(self.quarantine.records, entries))
        return [None if isinstance(wire, ValueError) else wire for wire in wires]

    def describe(self, entries: Sequence[QuarantineEntry]) -> Command[list[Described]]:
        """The records behind these entries, in order."""
        wires = yield from self.records(entries)
        return [self.described(entry, wire) for entry, wire in zip(entries, wires, strict=True)]

    def described(self, entry: QuarantineEntry, wire: Mapping[str, Any] | None) -> Described:
        """What an entry's record says; None: it is damaged."""
        field = field_of(entry.reason)
        value = value_of(wire, field, self.rules) if field is not None else None
        key = wire["dynamodb"].get("Keys") if wire is not None else None
        if key is None and entry.item is not None:
            key = json.loads(entry.item)
        return Described(entry, value, key)

    def item_of(self, entry: QuarantineEntry) -> Command[RecordItem]:
        """What is counted of the record's item, where corrections count."""
        (record_item,) = yield from read_record_items(self.quarantine, self.commits, [entry])
        return record_item

    def describe_all(self, entries: Sequence[QuarantineEntry], together: Together) -> Iterator[Described]:
        """The records behind many entries, in no order."""
        for found in together(self.describe(some) for some in chunks(entries)):
            yield from found

    @property
    def corrects(self) -> bool:
        """Whether changes and removals of items count."""
        return self.rules.corrections is Corrections.APPLY

    def refuse_repairs(self, repair: Repair) -> None:
        """Raises UnsafeRefused for a repair where corrections count: the board would not be what the items say."""
        if self.corrects and (repair.values or repair.converts):
            raise UnsafeRefused(
                "with CONSUMER_CORRECTIONS=apply the board is what the items of the source table say, and a redrive "
                f"takes no --set and no --convert. Nothing was changed. Next: {MEND_THE_ITEM} (docs/corrections.md)"
            )

    def decode(
        self, entries: Sequence[QuarantineEntry], repair: Repair
    ) -> Command[list[Countable | StillPoison | ChangedConcurrently]]:
        """What records count as, by these rules and with a repair; or why they do not count."""
        wires = yield from ask(OperatorCall.READ_RECORD, partial(self.quarantine.records, entries))
        if not self.corrects:
            return [self._decoded(entry, wire, repair) for entry, wire in zip(entries, wires, strict=True)]
        record_items = yield from read_record_items(self.quarantine, self.commits, entries)
        return [
            _unfit(entry, record_item, EntryState.PENDING) or self._corrected(entry, wire, record_item)
            for entry, wire, record_item in zip(entries, wires, record_items, strict=True)
        ]

    def dry_run(
        self, entries: Sequence[QuarantineEntry], repair: Repair
    ) -> Command[list[Countable | StillPoison | ChangedConcurrently]]:
        """What a redrive would count, or why it would not. Nothing is written."""
        results = yield from self.decode(entries, repair)
        for at, result in enumerate(results):
            if isinstance(result, Countable) and result.entry.reason in _FOUND_BY_DYNAMODB:
                verdict = yield from ask(OperatorCall.EXAMINE, partial(self.commits.examine, result.change))
                if verdict is not None:
                    results[at] = StillPoison(result.entry, verdict[0].value, verdict[1])
        return results

    def redrive(self, entry: QuarantineEntry, repair: Repair, action: str = "redrive") -> Command[Result]:
        """Counts one record, or says why it does not count. `action` is the name in the audit trail."""
        (decoded,) = yield from self.decode([entry], repair)
        if not isinstance(decoded, Countable):
            return decoded
        (result,) = yield from self.count([decoded], action)
        return result

    def count(self, records: Sequence[Countable], action: str = "redrive", command: str = "") -> Command[list[Result]]:
        """Counts records. `command` is an id that the audit entries of one command have in common."""
        changes = {record.entry.order: record.change for record in records}
        writes = [self._application(record, action, command) for record in records]
        results: list[Result] = []
        for write, reply in (yield from settle(OperatorCall.APPLY, self.quarantine.apply, writes, self._actions)):
            entry, change = write.entry, changes[write.entry.order]
            match reply:
                case Done():
                    results.append(Applied(entry, change))
                case AlreadyResolved(now):
                    results.append(ChangedConcurrently(entry, now))
                case Refused(invalid=invalid):
                    verdict = yield from ask(OperatorCall.EXAMINE, partial(self.commits.examine, change))
                    refusal = f"DynamoDB refuses it: {invalid or 'refused without a reason'}"
                    reason, why = verdict or (Reason.REFUSED, refusal)
                    results.append(StillPoison(entry, reason.value, why))
        return results

    def discard(
        self, entries: Sequence[QuarantineEntry], why: str, command: str = ""
    ) -> Command[list[Discarded | ChangedConcurrently]]:
        """Marks records as ones that never count."""
        details = {"outcome": EntryState.DISCARDED.value, "why": why}
        writes = [self._action(entry, "discard", details, command) for entry in entries]
        discard = partial(self.quarantine.discard, why=why)
        settled = yield from settle(OperatorCall.DISCARD, discard, writes, self._actions)
        return [
            ChangedConcurrently(write.entry, reply.entry)
            if isinstance(reply, AlreadyResolved)
            else Discarded(write.entry)
            for write, reply in settled
        ]

    def restore(
        self, entries: Sequence[QuarantineEntry], command: str = ""
    ) -> Command[list[Restored | Expired | StillPoison | ChangedConcurrently]]:
        """Makes discarded records pending again."""
        results: list[Restored | Expired | StillPoison | ChangedConcurrently] = []
        details = {"outcome": EntryState.PENDING.value}
        writes = []
        record_items = (yield from read_record_items(self.quarantine, self.commits, entries)) if self.corrects else ()
        for at, entry in enumerate(entries):
            unfit = _unfit(entry, record_items[at], EntryState.DISCARDED) if record_items else None
            if unfit is not None:
                results.append(unfit)
            else:
                item = record_items[at].check() if record_items else None
                writes.append(self._action(entry, "restore", details, command, item))
        settled = yield from settle(OperatorCall.RESTORE, self.quarantine.restore, writes, self._actions)
        for write, reply in settled:
            match reply:
                case Done():
                    results.append(Restored(write.entry))
                case AlreadyResolved(now):
                    results.append(ChangedConcurrently(write.entry, now))
                case Refused(invalid=invalid):
                    results.append(Expired(write.entry, invalid or ""))
        return results

    def redrive_all(self, entries: Sequence[QuarantineEntry], repair: Repair, together: Together) -> Iterator[Result]:
        """Counts many records, several transactions at a time. No two of them have a player in common."""
        command = self._command()
        for window in chunks(entries, WINDOW):
            countable: list[Countable] = []
            for decoded in together(self.decode(some, repair) for some in chunks(window)):
                countable += [each for each in decoded if isinstance(each, Countable)]
                yield from (each for each in decoded if not isinstance(each, Countable))
            parts = lanes(countable, lambda each: each.deltas, lambda each: self._actions(each.entry))
            for results in together(self.count(lane, command=command) for lane in parts):
                yield from results

    def dry_run_all(
        self, entries: Sequence[QuarantineEntry], repair: Repair, together: Together
    ) -> Iterator[Countable | StillPoison | ChangedConcurrently]:
        """What redrive_all would count, or why it would not. Nothing is written."""
        for results in together(self.dry_run(some, repair) for some in chunks(entries)):
            yield from results

    def discard_all(
        self, entries: Sequence[QuarantineEntry], why: str, together: Together
    ) -> Iterator[Discarded | ChangedConcurrently]:
        """Marks many records as ones that never count."""
        command = self._command()
        for results in together(self.discard(some, why, command) for some in chunks(entries)):
            yield from results

    def restore_all(
        self, entries: Sequence[QuarantineEntry], together: Together
    ) -> Iterator[Restored | Expired | StillPoison | ChangedConcurrently]:
        """Makes many discarded records pending again."""
        command = self._command()
        for results in together(self.restore(some, command) for some in chunks(entries)):
            yield from results

    def _command(self) -> str:
        """What the audit entries of one command have in common. `who` asks AWS once, before calls run together."""
        self.who()
        return self.token()

    def _actions(self, entry: QuarantineEntry) -> int:
        return actions_of(entry, self.actions_per_part)

    def _application(self, record: Countable, action: str, command: str) -> Application:
        entry, change, deltas, repairs, _, item = record
        players = ", ".join(sorted(deltas)) or change.player or ""
        details = {"outcome": EntryState.APPLIED.value, "player": players, "leaderboardTable": self.board}
        if repairs:
            details["repairs"] = ", ".join(f"{field}={value}" for field, value in sorted(repairs.items()))
        return Application(self._action(entry, action, details, command, item), deltas, repairs)

    def _action(
        self, entry: QuarantineEntry, act: str, details: Mapping[str, str], command: str, item: ItemWrite | None = None
    ) -> OperatorAction:
        details = {**details, "reason": entry.reason}
        if "player" not in details and entry.player is not None:
            details["player"] = entry.player
        if command:
            details["command"] = command
        return OperatorAction(entry, self.token(), AuditEntry(self.who(), self.now(), act, str(entry), details), item)

    def _decoded(
        self, entry: QuarantineEntry, wire: Mapping[str, Any] | ValueError, repair: Repair
    ) -> Countable | StillPoison:
        if isinstance(wire, ValueError):
            return StillPoison(entry, DAMAGED, str(wire))
        decoded, used = decode_again(
            wire, repair.values, self.rules, only_wrong=repair.only_wrong, converts=repair.converts
        )
        match without_expired(decoded, self.rules, self.now()):
            case Game() as game:
                came = {field: value_of(wire, field, self.rules) for field in used}
                return Countable(entry, game._replace(wire={}), {game.player: delta_of(game)}, used, came)
            case Poison(reason=reason, detail=detail):
                return StillPoison(entry, reason.value, detail)
            case _:
                return StillPoison(entry, IGNORED, "it is a change or a removal, which never counts")

    def _corrected(
        self, entry: QuarantineEntry, wire: Mapping[str, Any] | ValueError, record_item: RecordItem
    ) -> Countable | StillPoison:
        if isinstance(wire, ValueError):
            return StillPoison(entry, DAMAGED, str(wire))
        match image_again(wire, self.rules):
            case Poison(reason=reason, detail=detail):
                return StillPoison(entry, reason.value, f"{detail}; {MEND_THE_ITEM}")
            case Ignored():
                return StillPoison(entry, IGNORED, "the item's time to live removed it, which takes nothing away")
            case new:
                change = correction_of(wire, new, record_item, self.rules)
                return Countable(entry, change, deltas_of(change, self.rules, self.now()), item=record_item.counts(new))

    def _require_shard(self, name: str) -> Command[None]:
        entries = yield from ask(OperatorCall.LIST_ENTRIES, lambda: list(self.quarantine.entries()))
        in_ledger = yield from ask(OperatorCall.LOAD_LEDGER, self.shards)
        find_shard(name, {entry.shard for entry in entries} | set(in_ledger))


def _unfit(
    entry: QuarantineEntry, record_item: RecordItem, wanted: EntryState
) -> StillPoison | ChangedConcurrently | None:
    """Why a record cannot be counted, or restored; None: it can."""
    now = record_item.now
    if now is None or now.state != wanted:
        return ChangedConcurrently(entry, now)
    # A record of an unknown item cannot count. Its discard can be taken back.
    if record_item.is_last or (wanted is EntryState.DISCARDED and now.item is None):
        return None
    return StillPoison(entry, NOT_LAST, record_item.why_not)


def require_state(entry: QuarantineEntry | None, what: str, wanted: EntryState = EntryState.PENDING) -> None:
    """Raises UnsafeRefused, which says how the record was resolved, unless it is in this state."""
    if entry is None:
        raise UnsafeRefused(f"{what}: its row is gone")
    if entry.state == wanted:
        return
    if entry.state == EntryState.PENDING:
        raise UnsafeRefused(f"record {entry} is pending: {what}")
    if entry.state == EntryState.SUPERSEDED:
        raise UnsafeRefused(f"record {entry} is superseded, a later record of its item counts instead: {what}")
    by = f" by {entry.resolution.by} at {entry.resolution.at}" if entry.resolution and entry.resolution.by else ""
    raise UnsafeRefused(f"record {entry} is {entry.state} already{by}: {what}")


def refuse_other_board(entries: Iterable[QuarantineEntry], board: str, bindings: Collection[TableBinding]) -> None:
    """Raises UnsafeRefused unless the stream of each entry is counted into this leaderboard, by its table binding."""
    bound = {binding.stream_arn: binding.leaderboard_table for binding in bindings}
    for stream_arn in sorted({entry.stream_arn for entry in entries}):
        own = bound.get(stream_arn)
        if own is None:
            raise UnsafeRefused(
                f"the quarantine table has no table binding of stream {stream_arn}, so it is not known into which "
                "leaderboard its records belong. Nothing was changed. Next: check CONSUMER_QUARANTINE_TABLE; if it is "
                "right, `consumer init --adopt` shows what is missing"
            )
        if own != board:
            raise UnsafeRefused(
                f"stream {stream_arn} is counted into {own}, and the configured leaderboard is {board}. Nothing was "
                "changed. Next: correct CONSUMER_LEADERBOARD_TABLE"
            )


def folded(games: Iterable[Game]) -> dict[str, Delta]:
    """What each player gets for these games, by player, exactly."""
    deltas: dict[str, Delta] = {}
    for game in games:
        add_game(deltas, game)
    return dict(sorted(deltas.items()))


def add_game(deltas: dict[str, Delta], game: Game) -> None:
    """Adds one game, exactly."""
    add_to(deltas, game.player, delta_of(game))


def add_all(deltas: dict[str, Delta], more: Mapping[str, Delta]) -> None:
    """Adds what a record adds to the rows of its players, exactly."""
    for player, delta in more.items():
        add_to(deltas, player, delta)
