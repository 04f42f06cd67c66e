"""`consumer verify`: the source table's games against the leaderboard, player by player.

An attempt reads the quarantine, the rows, the games and, when every shard has passed the moment at which the games were
read, the rows again. A player whose row is as it was is judged; the next attempt reads only those who are left.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from consumer.domain import verification
from consumer.domain.errors import CallFailed, FailureKind, UnsafeRefused
from consumer.domain.leases import LeaseRow, Ledger, Shard, TableBinding, TableNames, table_of
from consumer.domain.operator_ports import (
    BoardPage,
    BoardState,
    ItemPage,
    Quarantine,
    Scans,
    TableFacts,
    TableReader,
    Tips,
)
from consumer.domain.records import Rules
from consumer.domain.verification import (
    Assumption,
    Caveat,
    Field,
    Known,
    Verdict,
    caveats,
    compare,
    compared_windows,
    corrects,
    every_shard_known,
)
from consumer.operations.game_fold import GameFold, GameLine
from consumer.operations.quarantine_notes import QuarantineNotes, ReadPacing
from consumer.operations.steps import Command, OperatorCall, ask
from consumer.operations.sums import Judged, Sums, Uncertain
from consumer.operations.tail import Tail

LOOK_SECONDS: Final = 1.0
"""Between two looks at the ledger."""
FEW: Final = 1_000
"""So many players of a keyed source are read one by one; more of them: both tables are read again."""
ROWS_AT_ONCE: Final = 100
UNIT_BYTES: Final = 4_096
"""Of a consistent read unit."""
SHOWN_SHARDS: Final = 5
_GONE: Final = frozenset((FailureKind.MISSING,))
_MAY_PASS: Final = frozenset(
    (FailureKind.THROTTLED, FailureKind.NETWORK, FailureKind.SERVER, FailureKind.CONFLICT, FailureKind.CORRUPTED)
)

Item = Mapping[str, Any]
Report = Callable[[str, int, int], object]
"""Learns the progress: what is read, how much of it, and about how much there is (0: not known)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an operator asks for. `rules`: those of the settings, where the ledger has none."""

    names: TableNames
    rules: Rules
    timeout_seconds: float = 900.0
    max_read_units: float | None = None
    assumed: frozenset[Assumption] = frozenset()


@dataclass(frozen=True, slots=True)
class Preview:
    """What is known before the games are read: what cannot be proven, and about how many units the reads take.

    `rules`: all by which records were read, the newest last.
    """

    source: TableFacts
    board: TableFacts
    caveats: tuple[Caveat, ...]
    keyed: bool
    rules: tuple[Rules, ...]
    at: float

    @property
    def read_units(self) -> int:
        """The games once and the rows twice, by the sizes that DynamoDB counted last."""
        return -(-(self.source.size_bytes + 2 * self.board.size_bytes) // UNIT_BYTES)

    @property
    def blocked(self) -> bool:
        """Whether nothing can be said of any player."""
        return any(caveat.blocks for caveat in self.caveats)


@dataclass(frozen=True, slots=True)
class Findings:
    """The result. `at`: the moment up to which all games were compared (unix seconds); None: no attempt came so far.

    `why` says why players are undecided. The players who differ are in the Sums.
    """

    verdict: Verdict
    caveats: tuple[Caveat, ...]
    players: int
    different: int
    undecided: int
    at: float | None
    attempts: int
    items: int
    read_units: float
    why: tuple[str, ...] = ()

    @property
    def equal(self) -> int:
        """How many players are equal."""
        return self.players - self.different - self.undecided


class Verification:
    """One run of `verify`."""

    def __init__(
        self,
        scans: Scans,
        reader: TableReader,
        quarantine: Quarantine,
        streams: Callable[[str], Tips],
        sums: Sums,
        request: Request,
        random: Random | None = None,
    ) -> None:
        self._scans, self._reader, self._quarantine, self._streams = scans, reader, quarantine, streams
        self._sums, self._request = sums, request
        self.report: Report = lambda *_: None
        self._pace = ReadPacing(request.max_read_units)
        self._items = self._attempts = self._players = 0
        self._moment: float | None = None
        self._only: list[str] | None = None
        self._explains = False
        self._random = random or Random()
        self.lines: list[GameLine] | None = None
        self._notes = QuarantineNotes(scans, quarantine, sums, self._pace)

    # --- before it begins ---

    def prepare(self) -> Command[Preview]:
        """What is known before the games are read. Raises UnsafeRefused for tables that do not belong together."""
        source = yield from ask(OperatorCall.DESCRIBE_TABLE, self._scans.source)
        board = yield from ask(OperatorCall.DESCRIBE_TABLE, self._scans.board)
        ledger, now = yield from ask(OperatorCall.LOAD_LEDGER, self._scans.ledger)
        bindings = yield from ask(OperatorCall.READ_BINDINGS, self._reader.bindings)
        refuse_other_tables(ledger, bindings, source.name, self._request.names)
        self._notes.keys = source.keys
        gaps = yield from ask(OperatorCall.READ_GAPS, self._reader.gaps)
        rules = ledger.accepted.newest or self._request.rules
        known = Known(ledger, source, gaps, self._request.assumed)
        return Preview(
            source,
            board,
            caveats(known, compared_windows(rules, ledger.rows, now)),
            source.keys[0] == rules.player_attribute and all(start.keyed for start in ledger.stream_starts),
            ledger.accepted.entries or (self._request.rules,),
            now,
        )

    def choose(self, number: int) -> Command[list[str]]:
        """Some players by chance, from the rows of the board, all of which it reads."""
        chosen: list[str] = []
        seen = 0
        page: BoardPage | None = None
        while page is None or page.after is not None:
            step = partial(self._scans.board_rows, None if page is None else page.after)
            page = yield from ask(OperatorCall.READ_BOARD, step, self._pace.pause())
            self._pace.read(page.units)
            for row in page.rows:
                seen += 1
                if len(chosen) < number:
                    chosen.append(row.player)
                elif (place := self._random.randrange(seen)) < number:
                    chosen[place] = row.player
        return chosen

    # --- the attempts ---

    def run(self, preview: Preview, only: Collection[str] | None = None, *, explain: bool = False) -> Command[Findings]:
        """Judges the players until all are judged or the time is over. `only`: these; None: all.

        `explain`: `lines` then says what became of each of their items.
        """
        self._only = None if only is None else sorted(only)
        self._explains = explain
        deadline = preview.at + self._request.timeout_seconds
        why: tuple[str, ...] = ()
        some = self._only
        try:
            while True:
                self._attempts += 1
                why = yield from self._attempt(preview, some, deadline)
                left = self._sums.waiting()
                if why or not left:
                    break
                if self._only is None and left <= FEW and preview.keyed:
                    some = self._sums.waiting_players(FEW)
        except CallFailed as failure:
            if failure.kind not in _MAY_PASS:
                raise
            why = (f"AWS did not answer in time ({failure.detail}): run it again, or read slower (--max-read-units)",)
        last = yield from self.prepare()
        return self._findings(last.caveats, why)

    def _findings(self, found: tuple[Caveat, ...], why: tuple[str, ...]) -> Findings:
        sums = self._sums
        undecided, different = sums.waiting(), sums.different()
        if any(caveat.blocks for caveat in found):
            undecided, verdict = self._players, Verdict.UNDECIDED
            why = (*why, "what cannot be proven on this board")
        elif different:
            verdict = Verdict.DIFFERENT
        else:
            verdict = Verdict.EQUAL if self._moment is not None and not undecided else Verdict.UNDECIDED
        return Findings(
            verdict,
            found,
            self._players,
            different,
            undecided,
            self._moment,
            self._attempts,
            self._items,
            self._pace.units,
            why,
        )

    def _attempt(self, preview: Preview, some: list[str] | None, deadline: float) -> Command[tuple[str, ...]]:
        """Reads, waits and judges. `some`: only these players; None: all. Returns why it could not judge."""
        sums, notes, rules = self._sums, self._notes, preview.rules[-1]
        sums.begin()
        yield from notes.read(rules)
        yield from self._read_rows(preview, some, sums.rows_before)
        moment = yield from self._read_games(preview, some)
        waits = yield from self._wait(moment, deadline)
        if waits:
            return waits
        yield from self._read_rows(preview, some, sums.rows_after)
        touched = yield from notes.read(rules)
        ledger, now = yield from ask(OperatorCall.LOAD_LEDGER, self._scans.ledger)
        if self._moment is None:
            self._players = sums.await_all() if self._only is None else sums.await_some(self._only)
        self._moment = moment
        sums.mark_uncertain(sums.unreadable(), Uncertain.RECORD)
        sums.mark_uncertain(sums.unexplained(), Uncertain.NO_RECORD)
        sums.mark_uncertain(touched, Uncertain.OPERATOR)
        counted = compared_windows(rules, ledger.rows, now).counts
        if not sums.any_player_uncertain:
            self._judge(preview, counted)
        lasting = sums.lasting()
        if now >= deadline or lasting == sums.waiting():
            return sums.reasons()
        return ()

    def _judge(self, preview: Preview, counted: Callable[[str], bool]) -> None:
        """Judges whose row stayed as it was.

        Where nothing in a row grows with each change, it may have been another one meanwhile, while an item came and
        went: a player is called different when two attempts find the very same.
        """
        sums, corrected = self._sums, corrects(preview.rules[-1])
        looks_again = corrected and not preview.keyed
        suspects: list[str] = []

        def verdicts(some: Iterable[Judged]) -> Iterator[tuple[str, tuple[Field, ...]]]:
            for player, stored, played in some:
                fields = compare(stored, played, counted, corrected=corrected)
                if looks_again and fields and not sums.confirmed(player, fields):
                    suspects.append(player)
                else:
                    yield player, fields

        sums.judge(verdicts(sums.judgeable()))
        sums.mark_uncertain(suspects, Uncertain.SUSPECT)

    def _read_rows(
        self, preview: Preview, some: list[str] | None, keep: Callable[[Iterable[BoardState]], object]
    ) -> Command[None]:
        read = 0
        for page_of in self._row_reads(some):
            page: BoardPage | None = None
            while page is None or page.after is not None:
                step = partial(page_of, None if page is None else page.after)
                page = yield from ask(OperatorCall.READ_BOARD, step, self._pace.pause())
                self._pace.read(page.units)
                keep(page.rows)
                read += len(page.rows)
                self.report("rows", read, preview.board.items if some is None else len(some))

    def _row_reads(self, some: list[str] | None) -> list[Callable[[Item | None], BoardPage]]:
        if some is None:
            return [self._scans.board_rows]
        parts = [some[at : at + ROWS_AT_ONCE] for at in range(0, len(some), ROWS_AT_ONCE)]
        return [partial(_without_start, self._scans.rows_of, part) for part in parts]

    def _read_games(self, preview: Preview, some: list[str] | None) -> Command[float]:
        """Folds the games. Returns when the last page was read."""
        fold = GameFold(preview.source.keys, preview.rules, preview.at, self._sums, self._only)
        fold.lines = self.lines = [] if self._explains else None
        fold.take_kept()
        moment, read = preview.at, 0
        reads: list[Callable[[Item | None], ItemPage]] = [self._scans.items]
        if some is not None and preview.keyed:
            reads = [partial(self._scans.items_of, player) for player in some]
        for page_of in reads:
            page: ItemPage | None = None
            while page is None or page.after is not None:
                step = partial(page_of, None if page is None else page.after)
                page = yield from ask(OperatorCall.READ_GAMES, step, self._pace.pause())
                self._pace.read(page.units)
                fold.take(page.items)
                moment = max(moment, page.served_at)
                read += len(page.items)
                self.report("games", read, preview.source.items if some is None else 0)
        self._items = max(self._items, read)
        return moment

    # --- waiting ---

    def _wait(self, moment: float, deadline: float) -> Command[tuple[str, ...]]:
        """Until all that was written by `moment` has been dealt with; else why it has not been by the deadline."""
        tails: dict[Shard, Tail] = {}
        pause_seconds = 0.0
        while True:
            ledger, now = yield from ask(OperatorCall.LOAD_LEDGER, self._scans.ledger, pause_seconds)
            waits = yield from self._waits(ledger, moment, now, tails)
            if not waits or now >= deadline:
                return waits
            self.report("waiting", 0, 0)
            pause_seconds = LOOK_SECONDS

    def _waits(self, ledger: Ledger, moment: float, now: float, tails: dict[Shard, Tail]) -> Command[tuple[str, ...]]:
        """What has not passed the moment yet, as sentences."""
        found = [f"the row of shard {shard} is missing" for shard in sorted(ledger.missing)]
        found += [f"{start.stream_arn} is being started" for start in ledger.stream_starts if not start.complete]
        for row in ledger.rows:
            if not verification.passed(row, moment) and not (yield from self._is_quiet(row, moment, now, tails)):
                found.append(_why(row))
        if found:
            return tuple(found)
        source = yield from ask(OperatorCall.DESCRIBE_TABLE, self._scans.source)
        if source.stream_arn is None:
            return ("the stream of the source table is off: games that are written now are in no stream",)
        if ledger.stream_start(source.stream_arn) is None:
            return (f"no worker has started the newest stream, {source.stream_arn}",)
        for start in ledger.stream_starts:
            streams = self._streams(start.stream_arn)
            try:
                shards = partial(streams.list_shards, start.stream_arn)
                listing = yield from ask(OperatorCall.LIST_SHARDS, shards, answers=_GONE)
            except CallFailed as failure:
                if failure.kind is not FailureKind.MISSING:
                    raise
                continue  # it was switched off a day ago
            if not every_shard_known(listing, ledger, moment):
                return (f"{start.stream_arn} may have shards that no worker has seen yet",)
        return ()

    def _is_quiet(self, row: LeaseRow, moment: float, now: float, tails: dict[Shard, Tail]) -> Command[bool]:
        """Whether the stream itself shows that a shard without newer records has none behind its checkpoint."""
        if now < moment + verification.SETTLING_SECONDS:
            return False
        tail = tails.get(row.shard)
        if tail is None or tail.checkpoint != row.checkpoint:
            tail = tails[row.shard] = Tail(row, self._streams(row.shard.stream_arn))
        yield from tail.read_on(now)
        return tail.quiet(moment)


def refuse_other_tables(ledger: Ledger, bindings: Collection[TableBinding], source: str, names: TableNames) -> None:
    """Raises UnsafeRefused unless the lease table, the quarantine table and the leaderboard belong together."""
    if not ledger.stream_starts:
        raise UnsafeRefused(
            f"lease table {names.leases} knows no stream: no worker has run with it, so there is nothing to verify. Is "
            "CONSUMER_LEASE_TABLE right?"
        )
    bound = {binding.stream_arn: binding for binding in bindings}
    for start in ledger.stream_starts:
        binding = bound.get(start.stream_arn)
        if binding is None or (binding.lease_table, binding.leaderboard_table) != (names.leases, names.leaderboard):
            said = (
                "says nothing of it"
                if binding is None
                else (
                    f"says that lease table {binding.lease_table} counts it on leaderboard {binding.leaderboard_table}"
                )
            )
            raise UnsafeRefused(
                f"lease table {names.leases} counts {start.stream_arn}, and quarantine table {names.quarantine} "
                f"{said}: they do not belong together with leaderboard {names.leaderboard}. Check "
                "CONSUMER_LEASE_TABLE, CONSUMER_LEADERBOARD_TABLE and CONSUMER_QUARANTINE_TABLE"
            )
        if table_of(start.stream_arn) != source:
            raise UnsafeRefused(
                f"lease table {names.leases} counts the source table {table_of(start.stream_arn)}, not {source}: check "
                "CONSUMER_SOURCE_TABLE and CONSUMER_LEASE_TABLE"
            )


def _why(row: LeaseRow) -> str:
    """Why a shard has not passed a moment, as far as its row shows it."""
    if row.circuit.halted_at is not None:
        return f"shard {row.shard} is halted. Next: `consumer resume {row.shard}{row.circuit.resume_options}`"
    if row.owner is None:
        return f"shard {row.shard} has no worker"
    return f"shard {row.shard}, which {row.owner} reads, is not known to be settled up to then"


def _without_start(read: Callable[[list[str]], BoardPage], players: list[str], _: Item | None) -> BoardPage:
    return read(players)
