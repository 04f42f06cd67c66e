"""The single writes of a unit (marked writes): rows are read, each delta is routed by its row's mark, and written.

A unit is cut again when a refusal, or a row that was read, shows that it would write something else. What it has
written by then stays: the marks say so.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from math import inf
from typing import Final

from consumer.domain import marks
from consumer.domain.corrections import NOT_LOOKED_UP, FoundItem
from consumer.domain.errors import CallFailed
from consumer.domain.fold import MOST_WINDOWS, Delta, Place, Unit
from consumer.domain.leases import Lease
from consumer.domain.marks import NO_WINDOWS, Lineage, Mark, Route, RowWrite, StoredRow, one_of_many
from consumer.domain.ports import Backoff
from consumer.domain.records import Correction, Entry, Game
from consumer.domain.replies import Done, Refused, RowRefused, RowReply
from consumer.worker import events
from consumer.worker.call_timer import CallTimer
from consumer.worker.calls import Reply
from consumer.worker.known_rows import KnownRows
from consumer.worker.shard_calls import LookUpShard, ReadItems, ReadRows, RowCall, WriteRows

MOST_ROW_CALLS: Final = 16
"""Calls for rows of one shard that are in flight at once."""
MOST_LOOKED_AHEAD: Final = 2_000
"""Records among which rows are searched for that a read can take besides."""
ROWS_PER_READ: Final = 100
"""Keys that one BatchGetItem may hold. Source: its API reference."""

NOT_KNOWN: Final = Place(in_transaction=False)
ALL_DEALT_WITH: Final = Place(dealt_with_to=inf, in_transaction=False)
STOP: Final = Place(stops=True)


class RowWrites:
    """The calls for the rows of one shard's unit. `ready` names them; the reply to each must be passed to `take`.

    `stale`: the unit must be cut again. `refused`: players whose single write DynamoDB will always refuse. `begun`:
    some row of the unit was written, or may have been.
    """

    def __init__(self, lease: Lease, known: KnownRows, backoff: Backoff, writes_per_call: int) -> None:
        self.stale = False
        self.begun = False
        self.refused: list[str] = []
        self._lease = lease
        self._shard = str(lease.shard)
        self._known = known
        self._backoff = backoff
        self._writes_per_call = writes_per_call
        self._reads: deque[RowCall] = deque()
        self._writes: deque[RowWrite] = deque()
        self._sent: dict[RowCall, CallTimer] = {}
        self._failures = 0
        self._unread: dict[str, None] = {}
        self._not_located: dict[str, None] = {}
        self._rows: dict[str, StoredRow] = {}
        self._doubtful: dict[str, None] = {}
        self._certain: set[str] = set()
        self._looked_at: set[str] = set()
        self._found: dict[str, tuple[StoredRow, float]] = {}
        self._items: dict[str, tuple[Mark | None, FoundItem | None]] = {}
        self._asked: dict[str, Mark | None] = {}
        self._applied: Mapping[str, int] = {}
        self._written = 0
        self._ahead = 0

    # --- while a unit is cut ---

    def place_of(self, player: str, created: float) -> Place:
        """What is known of the player's row, for `fold.cut`. What is not known is noted, and read by `read`."""
        row = self._row(player)
        if row is None:
            self._unread[player] = None
            return NOT_KNOWN
        self._found[player] = row, created
        chosen, mark = marks.route(row, self._shard, self._known.lineage, created), row.mark
        if chosen is Route.UNKNOWN and mark is not None:
            if mark.shard not in self._known.lineage.gone:
                self._not_located[mark.shard] = None
            elif player in self._certain:
                return STOP
            else:
                self._doubtful[player] = None
            return NOT_KNOWN
        if chosen is Route.DEALT_WITH:
            return ALL_DEALT_WITH
        dealt_with_to = int(mark.to) if mark is not None and mark.shard == self._shard else -1
        return Place(dealt_with_to, not chosen.single)

    def find_item(self, item: str, player: str | None) -> FoundItem | None:
        """What is known of an item's index row under the mark that its player's row has now, for `fold.cut`.

        What was found before another worker, or shard, moved the mark is not known any more.
        """
        mark, found = self._items.get(item, (None, NOT_LOOKED_UP))
        return found if mark == self._mark(player) else NOT_LOOKED_UP

    def _mark(self, player: str | None) -> Mark | None:
        row = self._row(player) if player is not None else None
        return None if row is None else row.mark

    def begin(self) -> None:
        """A unit is about to be cut."""
        self.stale = self.begun = False
        self._ahead += self._written
        self._written = 0
        self._found.clear()
        self._unread.clear()
        self._not_located.clear()
        self._doubtful.clear()

    def look_at_windows(self, unit: Unit) -> None:
        """The rows that get a window of which it is not known that they have it are to be read first.

        So a row is read when its player plays in it for the first time, and what has expired by then can go.
        """
        self._unread |= dict.fromkeys(self._not_looked_at(unit))

    def look_ahead(self, entries: Iterable[Entry]) -> None:
        """If rows are to be read, those of later records that are not known are read with them, in the same call."""
        wanted = self._unread
        if wanted:
            for entry in islice(entries, MOST_LOOKED_AHEAD):
                if len(wanted) >= ROWS_PER_READ:
                    break
                if (
                    isinstance(entry, Game | Correction)
                    and entry.player is not None
                    and self._row(entry.player) is None
                ):
                    wanted[entry.player] = None

    def knows(self, unit: Unit) -> bool:
        """Whether no row must be read before the unit, as far as windows are concerned."""
        return not any(self._not_looked_at(unit))

    def _not_looked_at(self, unit: Unit) -> Iterator[str]:
        for player, delta in unit.deltas.items() if self._known.have_windows else ():
            if delta.adds and player not in self._looked_at:
                row = self._row(player)
                if row is None or _gets_a_window(row, delta):
                    yield player

    def look_up(self, items: Mapping[str, str | None]) -> bool:
        """Whether index rows of these items, which have these players, must be read first: then these calls are due."""
        self._asked = {item: self._mark(player) for item, player in items.items()}
        wanted = tuple(items)
        pages = (wanted[first : first + ROWS_PER_READ] for first in range(0, len(wanted), ROWS_PER_READ))
        self._reads += [ReadItems(self._lease, page) for page in pages]
        return bool(self._reads)

    def forget_items(self) -> None:
        """What was found of index rows does not hold any more: the unit is cut again."""
        self._items.clear()
        self.stale = True

    def read(self) -> bool:
        """Whether rows or shards must be read before the unit can be cut: then these calls are due."""
        windows = self._known.have_windows
        for wanted, consistent in ((self._unread, False), (self._doubtful, True)):
            players = tuple(wanted)
            pages = (players[first : first + ROWS_PER_READ] for first in range(0, len(players), ROWS_PER_READ))
            self._reads += [ReadRows(self._lease, page, consistent, windows) for page in pages]
        self._reads += [LookUpShard(self._lease, shard) for shard in self._not_located]
        return bool(self._reads)

    def unknown_mark(self, player: str, created: float) -> Mark | None:
        """The mark because of which the shard must halt before this player's records; None: it need not.

        What the worker remembers, or has read of the row, may be old: a consistent read must have shown the mark.
        """
        row, lineage = self._row(player), self._known.lineage
        if player not in self._certain or row is None or row.mark is None or row.mark.shard not in lineage.gone:
            return None
        return row.mark if marks.route(row, self._shard, lineage, created) is Route.UNKNOWN else None

    def forget(self, player: str) -> None:
        """The player's row is read again before it is written."""
        self._known.forget(player)
        self._rows.pop(player, None)
        self._certain.discard(player)

    def write(self, unit: Unit, *, together: bool, unmarked: bool) -> tuple[RowWrite, ...]:
        """The unit's single writes are due; returns the writes of its transaction. `together`: all are in it.

        `unmarked`: a row without games keeps its mark, which is checked.
        """
        self._applied = unit.applied
        in_transaction = []
        for player, delta in unit.deltas.items():
            row, created = self._found[player]
            lineage = self._known.lineage
            chosen = marks.route(row, self._shard, lineage, created, together=together or player in unit.transacted)
            if unmarked and not delta.adds and chosen is not Route.SHARED:
                chosen = Route.CHECKED
            left = chosen in (Route.SHARED, Route.CHECKED)
            mark = None if left else Mark(self._shard, *unit.newest[player])
            dated = delta.date > (row.date or "")
            write = RowWrite(player, delta, chosen, row.mark, mark, dated=dated, had=row.windows)
            write = self._without_expired(write, row, unit.newest[player][1])
            if chosen.single:
                self._writes.append(write)
            else:
                in_transaction.append(write)
        return tuple(in_transaction)

    def plain(self, unit: Unit) -> tuple[RowWrite, ...]:
        """The writes of the unit's transaction where rows have no marks."""
        writes = []
        for player, delta in unit.deltas.items():
            row = self._row(player)
            write = RowWrite(player, delta, dated=row is None or (row.date or "") <= delta.date)
            writes.append(self._without_expired(write, row, unit.created))
        return tuple(writes)

    def _without_expired(self, write: RowWrite, row: StoredRow | None, newest: float) -> RowWrite:
        """The write without the windows that have expired when the newest record was created; the row loses them too.

        Expired windows that other workers or operators have added since the row was read go with a later write.
        """
        if not self._known.have_windows or not write.delta.adds:
            return write
        calendar, delta = self._known.calendar, write.delta
        drops = calendar.expired(row.windows, newest)[:MOST_WINDOWS] if row is not None and row.windows else ()
        late = calendar.expired(delta.names, newest)
        if late:
            delta = delta._replace(windows=tuple(each for each in delta.windows if each.window not in late))
        return write._replace(delta=delta, drops=drops) if late or drops else write

    # --- while it is written ---

    @property
    def idle(self) -> bool:
        """Whether every call has its reply."""
        return not (self._reads or self._writes or self._sent)

    def ready(self, now: float) -> list[RowCall]:
        """The calls to make now."""
        due = [call for call, timer in self._sent.items() if timer.ready(now)]
        while (self._reads or self._writes) and len(self._sent) < MOST_ROW_CALLS:
            call = self._reads.popleft() if self._reads else self._next_writes()
            self._sent[call] = CallTimer()
            due.append(call)
        for call in due:
            self._sent[call].send(now)
        return due

    def _next_writes(self) -> WriteRows:
        self.begun = True
        number = min(self._writes_per_call, len(self._writes))
        return WriteRows(self._lease, tuple(self._writes.popleft() for _ in range(number)))

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        if (self._reads or self._writes) and len(self._sent) < MOST_ROW_CALLS:
            return -inf
        return min((timer.wake_at for timer in self._sent.values()), default=inf)

    def lasting_failures(self) -> set[str]:
        """The failures of calls that have failed for a while."""
        return {timer.failure for timer in self._sent.values() if timer.failure}

    def take(self, call: RowCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call of `ready`; one from before `clear` is dropped."""
        timer = self._sent.get(call)
        if timer is None:
            return []
        timer.answered()
        if isinstance(reply, CallFailed):
            return self._retry(call, timer, reply, now)
        del self._sent[call]
        if isinstance(call, WriteRows) and isinstance(reply, list):
            return self._take_writes(call, timer, reply, now)
        self._failures = 0
        match call, reply:
            case ReadRows(), dict():
                # A row that is missing is read before the next cut.
                old = call.windows and not call.consistent
                self._learn({player: self._seen(player, row) for player, row in reply.items()} if old else reply)
                if call.windows:
                    self._looked_at |= reply.keys()
                if call.consistent:
                    self._certain |= reply.keys()
            case ReadItems(), dict():
                self._items |= {item: (self._asked[item], found) for item, found in reply.items()}
            case LookUpShard(), Lineage():
                self._known.looked_up(call.shard, reply)
            case _:
                raise AssertionError(f"{type(reply).__name__} is no reply to {type(call).__name__}")
        return []

    def _take_writes(
        self, call: WriteRows, timer: CallTimer, replies: list[RowReply], now: float
    ) -> list[events.Event]:
        """Each write has a reply of its own; those that failed are sent again together."""
        failed: list[RowWrite] = []
        failure: CallFailed | None = None
        learned: dict[str, StoredRow] = {}
        for write, reply in zip(call.writes, replies, strict=True):
            match reply:
                case Done():
                    learned[write.player] = write.after(self._row(write.player))
                    self._written += self._applied.get(write.player, 0)
                case RowRefused(row):
                    learned[write.player] = self._whole(write.player, row)
                    if self._has_all(row, write):
                        self._written += self._applied.get(write.player, 0)
                    else:
                        self._cut_again()
                case Refused():
                    self.refused.append(write.player)
                    self._cut_again()
                case CallFailed():
                    failed.append(write)
                    failure = reply
        self._learn(learned)
        if len(failed) < len(call.writes):
            self._failures = 0
        if failure is None:
            return []
        again = WriteRows(self._lease, tuple(failed))
        self._sent[again] = timer
        return self._retry(again, timer, failure, now)

    def _retry(self, call: RowCall, timer: CallTimer, failure: CallFailed, now: float) -> list[events.Event]:
        self._failures += 1  # of all rows together: a table that throttles is one line in the log
        retry = timer.retry(call, failure, self._backoff, now, self._lease)
        return [replace(retry, attempt=self._failures)]

    def settle(self, settled: int, players: Iterable[str] | None = None) -> int:
        """The unit is committed; `settled` of its records were dealt with before: how many of them by this worker.

        `players` are the unit's, where rows of other players are read ahead; None: they are not.
        """
        mine = min(settled, self._ahead)
        self._ahead -= mine
        self._written = 0
        self._rows.clear()
        self._items.clear()
        self._certain.clear()
        self._looked_at = self._looked_at.difference(players) if players is not None else set()
        self.begun = False
        return mine

    def refuse(self, rows: Mapping[str, StoredRow]) -> None:
        """The unit's transaction was refused for the marks of these rows."""
        self._learn({player: self._whole(player, row) for player, row in rows.items()})
        self.stale = True

    def clear(self) -> None:
        """Nothing of the unit is written any more; replies to calls in flight are dropped."""
        self._reads.clear()
        self._writes.clear()
        self._sent.clear()
        self._rows.clear()
        self._items.clear()
        self._certain.clear()
        self._looked_at.clear()
        self.begun = self.stale = False
        self._written = self._ahead = 0

    def _row(self, player: str) -> StoredRow | None:
        """The row; None: nothing is known of it. What the unit needs is not forgotten before the unit is settled."""
        return self._known.get(player) or self._rows.get(player)

    def _learn(self, rows: Mapping[str, StoredRow]) -> None:
        self._known.learn(rows)
        self._rows |= rows

    def _seen(self, player: str, row: StoredRow) -> StoredRow:
        """The row by a read that may be older than what is known of it: then the read only adds windows."""
        known = self._row(player)
        if known is None or not known.exists:
            return row
        return known._replace(windows=one_of_many((known.windows or NO_WINDOWS) | (row.windows or NO_WINDOWS)))

    def _whole(self, player: str, row: StoredRow) -> StoredRow:
        """The row as a refusal returned it: with all its windows."""
        self._looked_at.add(player)
        return row._replace(windows=row.windows or NO_WINDOWS) if self._known.have_windows else row

    def _cut_again(self) -> None:
        """Writes that are in flight get their replies first."""
        self.stale = True
        self._writes.clear()

    def _has_all(self, row: StoredRow, write: RowWrite) -> bool:
        """Whether the row shows all records of the write: an earlier attempt took effect, or another worker's."""
        mark = row.mark
        assert write.mark is not None
        return mark is not None and mark.shard == self._shard and int(mark.to) >= int(write.mark.to)


def _gets_a_window(row: StoredRow, delta: Delta) -> bool:
    """Whether the row may get one that it has not. One that was not there another worker may have made since."""
    return not row.exists or row.windows is None or not row.windows.issuperset(delta.names)
