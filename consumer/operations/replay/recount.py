"""Counts all of a range again, in batches of one transaction each.

A record that is in quarantine counts as its entry says: applied as it was repaired, pending or discarded as nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import MAX_ACTIONS, Delta, Limits, cut
from consumer.domain.leases import Shard
from consumer.domain.ports import Backoff
from consumer.domain.position import TRIM_HORIZON, rank
from consumer.domain.quarantine import EntryState, QuarantineEntry, decode_again
from consumer.domain.records import Entry, Game, Ignored, Outcome, Poison, Rules, Verdict, decode
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.domain.replies import Committed, Done, Refused
from consumer.operations.quarantine import Examine, Examined, add_game
from consumer.operations.replay.calls import Count, Due, EntriesFound, Put, ReadEntries, ReadReply, Reply
from consumer.operations.replay.plan import audit_entry_of
from consumer.operations.replay.reader import Reader, number_of

MOST_STATES: Final = 49
"""Quarantine entries on which one batch may rely: half of the actions beside the progress row's."""


class ReplayEntry(NamedTuple):
    """What a record counts as.

    `state` is that of its quarantine entry; None: it has none. `why` says why a record that should count cannot.
    """

    entry: Entry
    state: str | None
    why: str | None


def replay_entry_of(
    wire: Mapping[str, Any], quarantined: QuarantineEntry | None, rules: Rules, start_time: float | None
) -> ReplayEntry:
    """What a record counts as by the current rules and its quarantine entry, if it has one."""
    if quarantined is None:
        entry: Entry = decode(wire, rules, start_time)
    elif quarantined.state == EntryState.APPLIED:
        repairs = quarantined.resolution.repairs if quarantined.resolution is not None else {}
        entry, _ = decode_again(wire, repairs, rules, only_wrong=False)
    else:
        entry = Ignored(number_of(wire), 0.0, Outcome.IGNORED)
    state = quarantined.state if quarantined is not None else None
    if isinstance(entry, Poison):
        return ReplayEntry(_nothing(entry), state, f"{entry.reason}: {entry.detail}")
    return ReplayEntry(entry, state, None)


def without(replay_entry: ReplayEntry, why: str) -> ReplayEntry:
    """The same record, which counts as nothing: DynamoDB refuses it."""
    return ReplayEntry(_nothing(replay_entry.entry), replay_entry.state, why)


def cut_batch(entries: Sequence[ReplayEntry], previous: str, most: int | None, apart: Collection[str]) -> Batch:
    """The longest batch that starts with the first of `entries` and fits a transaction, of at most `most` records."""
    fitting = _with_few_states(entries)
    states = sum(state is not None for _, state, _ in fitting)
    limits = Limits(actions=MAX_ACTIONS - 1 - states, records=most, apart=apart)
    unit = cut((entry for entry, _, _ in fitting), previous, limits, 0.0)
    in_unit = fitting[: unit.records]
    return Batch(
        unit,
        {entry.sequence_number: state for entry, state, _ in in_unit if state is not None},
        {entry.sequence_number: why for entry, _, why in in_unit if why is not None},
    )


def _with_few_states(entries: Iterable[ReplayEntry]) -> list[ReplayEntry]:
    taken: list[ReplayEntry] = []
    states = 0
    for replay_entry in entries:
        states += replay_entry.state is not None
        if states > MOST_STATES:
            break
        taken.append(replay_entry)
    return taken


def _nothing(entry: Entry) -> Ignored:
    return Ignored(entry.sequence_number, entry.created, Outcome.IGNORED)


MOST_DATES: Final = 50_000
"""Players whose stored date is remembered."""
MOST_RECORDS: Final = 1_000
"""A batch that was shortened to fewer grows again with each success, until it is left to the transaction's limits."""


class Batches:
    """Cuts records into batches, and cuts smaller ones when a batch is refused.

    `quarantined` are the shard's quarantine entries; None: they must be read. `batch` is in flight. Players in `later`
    keep their stored date. `refusal`: why DynamoDB refuses a batch of only one record.
    """

    def __init__(self, rules: Rules, start_time: float | None) -> None:
        self.quarantined: Mapping[str, QuarantineEntry] | None = None
        self.batch: Batch | None = None
        self.later: frozenset[str] = frozenset()
        self.refusal: str | None = None
        self._rules, self._start_time = rules, start_time
        self._replay_entries: list[ReplayEntry] = []
        self._refused: dict[str, str] = {}
        self._dates: dict[str, str] = {}
        self._apart: set[str] = set()
        self._most: int | None = None

    def cut(self, wires: Iterable[Mapping[str, Any]], previous: str) -> Batch:
        """The batch in flight, or the next one of the records behind `previous`."""
        if self.batch is None:
            self._replay_entries = self._replay_entries or [self._decode(wire) for wire in wires]
            self.batch = cut_batch(self._replay_entries, previous, self._most, self._apart)
            deltas = self.batch.unit.deltas
            self.later = frozenset(player for player in deltas if self._dates.get(player, "") > deltas[player].date)
        return self.batch

    def take_counted(self) -> Batch:
        """The batch is counted; returns it."""
        assert self.batch is not None
        counted, self.batch = self.batch, None
        del self._replay_entries[: counted.unit.records]
        self._most = 2 * self._most if self._most is not None and self._most < MOST_RECORDS else None
        return counted

    def forget(self) -> None:
        """Everything is decoded and cut again."""
        self._replay_entries = []
        self.batch = None

    def take_refused(self, refused: Refused, *, often: bool) -> None:
        """The batch is refused. `often`: for a conflict, and not for the first time."""
        assert self.batch is not None
        records = self.batch.unit.records
        if refused.later:
            self.later |= refused.later.keys()
            self._remember(refused.later)
        elif refused.invalid is not None and records == 1:
            self.refusal = refused.invalid
        elif refused.invalid is not None or often:
            self._apart |= refused.suspects
            self._most = max(1, records // 2)
            self.batch = None

    @property
    def only_game(self) -> Game:
        """The record that was refused alone. Raises CallFailed when it is no game: then no record is to blame."""
        entry = self._replay_entries[0].entry
        if not isinstance(entry, Game):
            raise CallFailed(FailureKind.REJECTED, f"a table refuses the replay's own row: {self.refusal}")
        return entry

    def skip(self, verdict: Verdict | None) -> None:
        """The record that was refused alone counts as nothing, for this reason."""
        reason, detail = verdict or ("refused", f"DynamoDB refuses it: {self.refusal}")
        why = f"{reason}: {detail}"
        skipped = without(self._replay_entries[0], why)
        self._replay_entries[0] = skipped
        self._refused[skipped.entry.sequence_number] = why
        self.batch = self.refusal = None

    def _decode(self, wire: Mapping[str, Any]) -> ReplayEntry:
        assert self.quarantined is not None
        number = number_of(wire)
        replay_entry = replay_entry_of(wire, self.quarantined.get(number), self._rules, self._start_time)
        return without(replay_entry, self._refused[number]) if number in self._refused else replay_entry

    def _remember(self, stored: Mapping[str, str]) -> None:
        """Stored dates only grow: the next batch of such a player leaves an earlier date out at once."""
        if len(self._dates) > MOST_DATES:
            self._dates.clear()
        self._dates |= stored


class Recount:
    """The machine. `before` is the progress row as it was found, `progress` as it is to be. `now` returns unix seconds.

    `take` returns each batch that is counted. It ends `finished`, or `overtaken`: another run has the progress row.
    """

    def __init__(
        self,
        before: Progress | None,
        progress: Progress,
        reader: Reader,
        rules: Rules,
        start_time: float | None,
        backoff: Backoff,
        who: str,
        now: Callable[[], float],
    ) -> None:
        self.progress = progress
        self.overtaken: Overtaken | None = None
        self.finished = False
        self.reader = reader
        self._batches = Batches(rules, start_time)
        self._backoff = backoff
        self._conflicts = 0
        self._who, self._now = who, now
        self._begin: Put | None = Put(before, progress, audit_entry_of(progress, _began(before, progress), who, now()))
        self._end: Put | None = None

    @property
    def begun(self) -> bool:
        """Whether the progress row is written, or another run has it."""
        return self._begin is None or self.overtaken is not None

    def due(self) -> Due | None:
        """Start, read the quarantine entries, read and count in turns, end. None: there is nothing more to do."""
        batches = self._batches
        if self.finished or self.overtaken is not None:
            return None
        if self._begin is not None:
            return Due(self._begin)
        if batches.quarantined is None:
            return Due(ReadEntries(self.progress.shard))
        if (reading := self.reader.due()) is not None:
            return reading
        if not self.reader.wires:
            return Due(self._ending())
        if batches.refusal is not None:
            return Due(Examine(batches.only_game))
        batch = batches.cut(self.reader.wires, self.progress.position)
        pause = self._backoff.delay(self._conflicts) if self._conflicts else 0.0
        return Due(Count(self.progress, batch, batches.later), pause)

    def take(self, reply: Reply) -> Batch | None:
        """Takes the reply to the call that was due. Returns a batch when it is counted."""
        match reply:
            case Done():
                self._take_done()
            case EntriesFound(entries):
                self._batches.quarantined = entries
            case Committed():
                return self._take_counted()
            case Overtaken(row) if row is not None and row.runner == self.progress.runner and row.running:
                self._move(row)  # an earlier attempt took effect
                self._batches.forget()
            case Overtaken():
                self.overtaken = reply
            case Changed():
                self._batches.quarantined = None
                self._batches.forget()
            case Refused(conflict=conflict):
                self._conflicts += conflict
                self._batches.take_refused(reply, often=self._conflicts > 1)
            case Examined(verdict):
                self._batches.skip(verdict)
            case _:
                assert isinstance(reply, ReadReply)
                self.reader.take(reply)
        return None

    def _ending(self) -> Put:
        if self._end is None:
            after = replace(self.progress, running=False)
            outcome = "finished, a part was trimmed" if self.reader.trimmed else "finished"
            self._end = Put(self.progress, after, audit_entry_of(after, outcome, self._who, self._now()))
        return self._end

    def _take_done(self) -> None:
        if self._begin is not None:
            self._begin = None
        else:
            assert self._end is not None
            self.progress, self.finished = self._end.after, True

    def _take_counted(self) -> Batch:
        counted = self._batches.take_counted()
        self._move(self.progress.after(counted))
        self._conflicts = 0
        return counted

    def _move(self, progress: Progress) -> None:
        self.progress = progress
        self.reader.drop(progress.position)


def _began(before: Progress | None, progress: Progress) -> str:
    if before is not None and before.replay_id == progress.replay_id:
        return "resumed"
    gives_up = before is not None and before.running and rank(before.position) > rank(TRIM_HORIZON)
    return "started, another one given up" if gives_up else "started"


class DryRun:
    """The machine of a recount's dry run. It adds to `deltas`.

    `skipped` says why records would not count, by sequence number.
    """

    def __init__(
        self, shard: Shard, reader: Reader, rules: Rules, start_time: float | None, deltas: dict[str, Delta]
    ) -> None:
        self.deltas = deltas
        self.games = 0
        self.skipped: dict[str, str] = {}
        self.reader = reader
        self._rules, self._start_time = rules, start_time
        self._quarantined: Mapping[str, QuarantineEntry] | None = None
        self._shard = shard

    def due(self) -> Due | None:
        """Read the quarantine entries, then page after page."""
        if self._quarantined is None:
            return Due(ReadEntries(self._shard))
        self._fold()
        return self.reader.due()

    def take(self, reply: Reply) -> int | None:
        """Takes the reply to the call that was due. Returns how many games are found so far."""
        if isinstance(reply, EntriesFound):
            self._quarantined = reply.entries
            return None
        assert isinstance(reply, ReadReply)
        self.reader.take(reply)
        return self.games

    def _fold(self) -> None:
        assert self._quarantined is not None
        while self.reader.wires:
            wire = self.reader.wires.popleft()
            number = number_of(wire)
            entry, _, why = replay_entry_of(wire, self._quarantined.get(number), self._rules, self._start_time)
            if why is not None:
                self.skipped[number] = why
            if isinstance(entry, Game):
                self.games += 1
                add_game(self.deltas, entry)
