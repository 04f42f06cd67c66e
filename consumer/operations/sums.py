"""What `verify` remembers of games and rows, per player: in a temporary SQLite database, so memory stays bounded.

The database lives in SQLite's page cache. Only what is more than that goes to a file, which SQLite deletes itself.
Sums are added in Python: SQLite's numbers would round them.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

from consumer.domain.errors import StartRefused
from consumer.domain.fold import Delta, WindowSum, add_to
from consumer.domain.operator_ports import BoardState
from consumer.domain.text import many
from consumer.domain.verification import Field

CACHE_KILOBYTES: Final = 32_000
"""Of SQLite's page cache; the rest is in a file."""
MOST_VARIABLES: Final = 500
"""Of a statement: older SQLites take 999."""
TEMP_DIR: Final = "SQLITE_TMPDIR"
"""Names the folder of SQLite's temporary files. Source: its manual, "Temporary File Storage Locations"."""

_SCHEMA: Final = """
CREATE TABLE played (player TEXT PRIMARY KEY, sums TEXT) WITHOUT ROWID;
CREATE TABLE board (player TEXT PRIMARY KEY, before BLOB, after BLOB, shown TEXT) WITHOUT ROWID;
CREATE TABLE uncertain (player TEXT PRIMARY KEY, why TEXT);
CREATE TABLE strays (key TEXT PRIMARY KEY, player TEXT) WITHOUT ROWID;
CREATE TABLE waiting (player TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE different (player TEXT PRIMARY KEY, fields TEXT) WITHOUT ROWID;
CREATE TABLE notes (entry TEXT PRIMARY KEY, version TEXT, key TEXT, player TEXT, sums TEXT, reading INT) WITHOUT ROWID;
CREATE TABLE suspects (player TEXT PRIMARY KEY, fields TEXT) WITHOUT ROWID;
CREATE INDEX by_key ON notes (key);
"""


T = TypeVar("T")
Value = Decimal | str | None


class Uncertain(StrEnum):
    """Why a player cannot be judged, as a stable code. Only the first three may pass."""

    CHANGED = "changed"
    OPERATOR = "operator"
    SUSPECT = "suspect"
    RULES = "rules"
    RECORD = "record"
    NO_RECORD = "no_record"


_SENTENCES: Final = {
    Uncertain.CHANGED: "the row changed while the games were read, in each attempt",
    Uncertain.OPERATOR: "an operator acted on a quarantined record meanwhile, or its item was changed",
    Uncertain.SUSPECT: "the row differed, and no second look has confirmed it",
    Uncertain.RULES: "an item reads differently by other rules that records were counted by",
    Uncertain.RECORD: "a quarantined record cannot be read any more",
    Uncertain.NO_RECORD: "an item is poison, and no row of the quarantine says what became of it",
}


LIFE: Final = "#life "
"""Before the key of an item that is gone."""


class Note(NamedTuple):
    """What the quarantine says of an item: it counts nothing, or (`counted`) the game that an operator made of it.

    Where corrections count: the game that the item was before its record went to quarantine.

    `entry` names its row, `version` the state in which it was read. `key`: of the item; None: it could not be read.
    `player`: whose row it is about; None: not known.
    """

    entry: str
    version: str
    key: str | None
    player: str | None
    counted: Delta | None = None

    @property
    def state(self) -> str:
        """What became of the record."""
        return self.version.partition(" ")[0]


class Judged(NamedTuple):
    """A player whose row stayed as it was while the games were read: what both say."""

    player: str
    stored: BoardState | None
    played: Delta | None


class Sums:
    """The memory of one `verify`. Its methods raise StartRefused where there is no space for the temporary file."""

    def __init__(self, temp_dir: str | None = None) -> None:
        if temp_dir is not None:
            os.environ[TEMP_DIR] = temp_dir
        self._temp_dir = temp_dir
        with self._spilling():
            self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._db.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA}")
            self._db.execute(f"PRAGMA cache_size=-{CACHE_KILOBYTES}")
            self._db.execute("BEGIN")  # for good: nothing is ever committed, and each row would be a transaction else

    def close(self) -> None:
        """Forgets everything; the file, if there is one, is gone."""
        self._db.close()

    def begin(self) -> None:
        """A new attempt: forgets what was read, and keeps what was decided."""
        for table in ("played", "board", "uncertain", "strays"):
            self._run(f"DELETE FROM {table}")

    def play(self, sums: Mapping[str, Delta]) -> None:
        """Adds to what the games say."""
        for players in _batches(sums):
            more = {player: sums[player] for player in players}
            for player, text in self._run(f"SELECT player, sums FROM played WHERE player IN ({_marks(more)})", more):
                add_to(more, player, _delta_of(text))
            self._many(
                "INSERT OR REPLACE INTO played VALUES (?, ?)",
                ((player, _delta_text(delta)) for player, delta in more.items()),
            )

    def mark_uncertain(self, players: Iterable[str | None], why: "Uncertain") -> None:
        """What the games say of these players is not certain. None: it may be any player."""
        self._many("INSERT OR IGNORE INTO uncertain VALUES (?, ?)", ((player, why.value) for player in players))

    @property
    def any_player_uncertain(self) -> bool:
        """Whether something is uncertain that may be about any player."""
        return bool(self._run("SELECT 1 FROM uncertain WHERE player IS NULL LIMIT 1"))

    def lasting(self) -> int:
        """Of how many waiting players another attempt would not know more."""
        if self.any_player_uncertain:
            return self.waiting()
        query = "SELECT COUNT(*) FROM waiting JOIN uncertain USING (player) WHERE why NOT IN (?, ?)"
        ((count,),) = self._run(query, (Uncertain.OPERATOR.value, Uncertain.SUSPECT.value))
        return int(count)

    def reasons(self) -> tuple[str, ...]:
        """Why players wait, as sentences."""
        query = "SELECT why, COUNT(*) FROM waiting LEFT JOIN uncertain USING (player) GROUP BY why ORDER BY why"
        counts = {Uncertain(why or Uncertain.CHANGED): int(count) for why, count in self._run(query)}
        for (why,) in self._run("SELECT DISTINCT why FROM uncertain WHERE player IS NULL"):
            counts = {Uncertain(why): self.waiting()}
        return tuple(f"{many(count, 'player')}: {_SENTENCES[why]}" for why, count in counts.items())

    def strays(self, found: Iterable[tuple[str, str | None]]) -> None:
        """Items that are poison and that no quarantine row explains yet: key, and player if it is known."""
        self._many("INSERT OR IGNORE INTO strays VALUES (?, ?)", found)

    def unexplained(self) -> Iterator[str | None]:
        """The players of the stray items that no quarantine row explains now either; None: not known."""
        query = "SELECT DISTINCT player FROM strays WHERE key NOT IN (SELECT key FROM notes WHERE key IS NOT NULL)"
        return (player for (player,) in self._run(query))

    def rows_before(self, rows: Iterable[BoardState]) -> None:
        """Rows as they were before the games were read."""
        self._many("INSERT OR REPLACE INTO board (player, before) VALUES (?, ?)", ((r.player, r.digest) for r in rows))

    def rows_after(self, rows: Iterable[BoardState]) -> None:
        """Rows as they were when all that was read of the games had been dealt with."""
        self._many(
            "INSERT INTO board (player, after, shown) VALUES (?, ?, ?) "
            "ON CONFLICT (player) DO UPDATE SET after = excluded.after, shown = excluded.shown",
            ((row.player, row.digest, _row_text(row)) for row in rows),
        )

    # --- who is still to be judged ---

    def await_all(self) -> int:
        """Every player who was read is to be judged. Returns how many these are."""
        self._run("INSERT OR IGNORE INTO waiting SELECT player FROM played UNION SELECT player FROM board")
        return self.waiting()

    def await_some(self, players: Iterable[str]) -> int:
        """These players are to be judged. Returns how many these are."""
        self._many("INSERT OR IGNORE INTO waiting VALUES (?)", ((player,) for player in players))
        return self.waiting()

    def waiting(self) -> int:
        """How many players are still to be judged."""
        ((count,),) = self._run("SELECT COUNT(*) FROM waiting")
        return int(count)

    def waiting_players(self, most: int) -> list[str]:
        """Some of them."""
        return [player for (player,) in self._run("SELECT player FROM waiting ORDER BY player LIMIT ?", (most,))]

    def judgeable(self) -> Iterator[Judged]:
        """The waiting players whose rows were the same before and after, and of whom nothing is uncertain."""
        query = (
            "SELECT player, sums, shown FROM waiting LEFT JOIN played USING (player) LEFT JOIN board USING (player) "
            "WHERE player > ? AND before IS after AND NOT EXISTS "
            "(SELECT 1 FROM uncertain WHERE uncertain.player = waiting.player)"
        )
        for player, sums, shown in self._by_player(query):
            stored = None if shown is None else _row_of(player, shown)
            yield Judged(player, stored, None if sums is None else _delta_of(sums))

    def judge(self, verdicts: Iterable[tuple[str, Sequence[Field]]]) -> None:
        """Keeps what was decided of players: the fields in which each differs, none if it is equal."""
        for some in _batches(verdicts):
            found = [(player, _fields_text(fields)) for player, fields in some if fields]
            self._many("INSERT OR REPLACE INTO different VALUES (?, ?)", found)
            self._many("DELETE FROM waiting WHERE player = ?", ((player,) for player, _ in some))

    def confirmed(self, player: str, fields: Sequence[Field]) -> bool:
        """Whether the player differed in just these fields when it was looked at last; then this is kept instead."""
        text = _fields_text(fields)
        before = self._run("SELECT fields FROM suspects WHERE player = ?", (player,))
        self._run("INSERT OR REPLACE INTO suspects VALUES (?, ?)", (player, text))
        return before == [(text,)]

    def different(self) -> int:
        """How many players differ."""
        ((count,),) = self._run("SELECT COUNT(*) FROM different")
        return int(count)

    def differences(self) -> Iterator[tuple[str, tuple[Field, ...]]]:
        """The players who differ, by name, and in what."""
        for player, fields in self._by_player("SELECT player, fields FROM different WHERE player > ?"):
            yield player, tuple(Field(*map(_value_of, field)) for field in json.loads(fields))

    # --- the quarantine ---

    def note(self, notes: Iterable[Note], reading: int = 0) -> None:
        """Keeps what the quarantine says. `reading`: the number of this reading of all of it, see `forget`."""
        self._many(
            "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?, ?, ?)",
            (
                (entry, version, key, player, None if counted is None else _delta_text(counted), reading)
                for entry, version, key, player, counted in notes
            ),
        )

    def forget(self, reading: int) -> list[str | None]:
        """Forgets what the quarantine did not say any more in this reading. Returns the players it was about."""
        gone = self._run("SELECT player FROM notes WHERE reading <> ?", (reading,))
        self._run("DELETE FROM notes WHERE reading <> ?", (reading,))
        return [player for (player,) in gone]

    def standing(self) -> Iterator[Note]:
        """What the quarantine says of items that are gone."""
        query = "SELECT entry, version, key, player, sums FROM notes WHERE substr(key, 1, ?) = ?"
        for entry, version, key, player, sums in self._run(query, (len(LIFE), LIFE)):
            yield Note(entry, version, key, player, None if sums is None else _delta_of(sums))

    def versions(self, entries: Iterable[str]) -> dict[str, tuple[str, str | None]]:
        """The versions in which these rows were read, and the players that they were about."""
        found: dict[str, tuple[str, str | None]] = {}
        for some in _batches(entries):
            query = f"SELECT entry, version, player FROM notes WHERE entry IN ({_marks(some)})"
            found |= {entry: (version, player) for entry, version, player in self._run(query, some)}
        return found

    def noted(self, keys: Sequence[str]) -> dict[str, Note]:
        """What the quarantine says of items with these keys, by key."""
        found: dict[str, Note] = {}
        for some in _batches(keys):
            query = f"SELECT entry, version, key, player, sums FROM notes WHERE key IN ({_marks(some)})"
            for entry, version, key, player, sums in self._run(query, some):
                found[key] = Note(entry, version, key, player, None if sums is None else _delta_of(sums))
        return found

    @property
    def has_notes(self) -> bool:
        """Whether the quarantine says anything."""
        return bool(self._run("SELECT 1 FROM notes LIMIT 1"))

    def unreadable(self) -> Iterator[str | None]:
        """The players of rows of the quarantine that do not say which item they are about."""
        return (player for (player,) in self._run("SELECT DISTINCT player FROM notes WHERE key IS NULL"))

    # --- SQLite ---

    def _by_player(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query for players after a given one. What it reads may be changed meanwhile."""
        last = ""
        while True:
            rows = self._run(f"{query} ORDER BY player LIMIT {MOST_VARIABLES}", (last,))
            yield from rows
            if len(rows) < MOST_VARIABLES:
                return
            last = rows[-1][0]

    def _run(self, statement: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        with self._spilling():
            return self._db.execute(statement, tuple(values)).fetchall()

    def _many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        with self._spilling():
            self._db.executemany(statement, rows)

    @contextmanager
    def _spilling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            where = self._temp_dir or os.environ.get(TEMP_DIR) or "the system's folder for temporary files"
            raise StartRefused(
                f"the sums of all players do not fit into memory, and no file can be written to {where} ({error}): "
                "name a folder with --temp-dir that can be written to and has space"
            ) from error


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while some := list(islice(left, MOST_VARIABLES)):
        yield some


def _delta_text(delta: Delta) -> str:
    windows = {window: (games, str(total)) for window, games, total in delta.windows}
    return json.dumps((delta.games, str(delta.total), delta.date, windows))


def _delta_of(text: str) -> Delta:
    games, total, date, windows = json.loads(text)
    sums = tuple(WindowSum(name, games, Decimal(total)) for name, (games, total) in windows.items())
    return Delta(games, Decimal(total), date, sums)


def _row_text(row: BoardState) -> str:
    windows = {name: (_value_text(games), _value_text(score)) for name, (games, score) in row.windows.items()}
    return json.dumps((_value_text(row.games), _value_text(row.total), row.date, windows))


def _row_of(player: str, text: str) -> BoardState:
    games, total, date, windows = json.loads(text)
    shown = {name: (_number_of(games), _number_of(score)) for name, (games, score) in windows.items()}
    return BoardState(player, _number_of(games), _number_of(total), date, shown, b"")


def _value_text(value: Value) -> list[str] | str | None:
    """A number in a list, so that it is none of the texts."""
    return [str(value)] if isinstance(value, Decimal) else value


def _value_of(stored: Any) -> Any:
    return Decimal(stored[0]) if isinstance(stored, list) else stored


def _number_of(stored: Any) -> Decimal | None:
    return None if stored is None else Decimal(stored[0])


def _fields_text(fields: Sequence[Field]) -> str:
    return json.dumps([[name, _value_text(board), _value_text(games)] for name, board, games in fields])
