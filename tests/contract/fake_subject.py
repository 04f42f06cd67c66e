"""The in-memory fakes as a subject."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from consumer.domain.audit import AuditEntry
from consumer.domain.corrections import IndexRow
from consumer.domain.leases import Shard, StreamStart, label_of
from consumer.domain.marks import Mark
from consumer.domain.membership import HeartbeatReport
from consumer.domain.records import unpack
from tests.contract.subject import Quarantined, Score, Subject, Value
from tests.support.builders import ARN
from tests.support.fakes import FakePending, FakeQuarantine, FakeStreams, FakeTables
from tests.support.fakes import tables as fake_tables
from tests.support.fakes.scans import FakeScans

_SHARD = "shardId-00000001769860800000-00000000"


class FakeSubject(Subject):
    """FakeTables and FakeStreams on this machine's clock."""

    name = "fakes"

    def __init__(self) -> None:
        self._tables = FakeTables()
        self._streams = FakeStreams(time.time, ARN)
        self.names = self._tables.names
        self.streams = self._streams
        self.ledgers = self.membership = self.commits = self._tables
        self.pending_records = FakePending(self._tables)
        self._quarantine = self.quarantine = self.circuits = FakeQuarantine(self._tables)
        self.scans = FakeScans(self._streams, self._tables, time.time)

    def board(self) -> dict[str, Score]:
        return {player: _as_stored(score) for player, score in self._tables.board.items()}

    def marks(self) -> dict[str, Mark | None]:
        return {player: score.mark for player, score in self._tables.board.items()}

    def windows(self, player: str) -> dict[str, tuple[Value, Value]]:
        score = self._tables.board[player]
        return {
            window: (
                score.wrong.get(f"{window}_games", Decimal(games)),
                score.wrong.get(f"{window}_score", total),
            )
            for window, (games, total) in score.windows.items()
        }

    def put_windows(self, player: str, windows: Mapping[str, tuple[int, Decimal]]) -> None:
        self._tables.board[player].windows |= windows

    def put_player(self, player: str, score: Score, mark: Mark | None = None) -> None:
        assert isinstance(score.games, Decimal)
        assert isinstance(score.total, Decimal)
        assert not isinstance(score.date, Decimal)
        self._tables.board[player] = fake_tables.Score(int(score.games), score.total, score.date, mark=mark)

    def delete_player(self, player: str) -> None:
        del self._tables.board[player]

    def quarantine_rows(self) -> dict[tuple[str, str], Quarantined]:
        return {
            key: Quarantined(
                row.state,
                row.poison.reason,
                row.poison.detail,
                row.poison.player,
                row.at,
                len(row.poison.parts),
                unpack(row.poison.parts),
                row.poison.about.item if row.poison.about is not None else None,
                row.kept,
            )
            for key, row in self._tables.quarantine.items()
        }

    def index_rows(self) -> dict[str, IndexRow]:
        return dict(self._tables.index_rows)

    def put_index_row(self, row: IndexRow) -> None:
        self._tables.index_rows[row.item] = row

    def delete_head(self, shard_id: str, sequence_number: str) -> None:
        del self._tables.quarantine[shard_id, sequence_number]

    def gaps(self) -> dict[tuple[Shard, str], str | None]:
        return {key: gap.to for key, gap in self._tables.gaps.items()}

    def stream_gaps(self) -> dict[tuple[str, str], float]:
        return {(arn, label_of(before)): found_at for (arn, before), found_at in self._tables.stream_gaps.items()}

    def audit(self) -> list[AuditEntry]:
        return sorted(self._quarantine.audit, key=lambda entry: entry.at)

    def everything(self) -> object:
        tables = self._tables
        return copy.deepcopy(
            (
                tables.rows,
                tables.stream_starts,
                tables.bindings,
                tables.source,
                tables.accepted,
                tables.workers,
                tables.changes,
                tables.board,
                tables.quarantine,
                tables.index_rows,
                tables.gaps,
                tables.stream_gaps,
                self._quarantine.audit,
                self._quarantine.actions,
            )
        )

    def delete_row(self, shard: Shard) -> None:
        del self._tables.rows[shard]

    def delete_stream_start(self, stream_arn: str) -> None:
        del self._tables.stream_starts[stream_arn]

    def put_old_stream_start(self, start: StreamStart) -> None:
        self._tables.stream_starts[start.stream_arn] = replace(start, protocol=1, keyed=False)

    def put_old_heartbeat(self, owner: str, number: int) -> None:
        self._tables.workers[owner] = HeartbeatReport(number, protocol=1)

    def delete_binding(self, stream_arn: str) -> None:
        del self._tables.bindings[stream_arn]

    def delete_gap(self, shard: Shard, checkpoint: str) -> None:
        del self._tables.gaps[shard, checkpoint]

    def spoil(self, player: str, attribute: str, value: Decimal | str) -> None:
        score = self._tables.board[player]
        if attribute == "lastPlayedDate" and isinstance(value, str):
            score.date = value
        else:
            score.wrong[attribute] = value

    def delete_attribute(self, player: str, attribute: str) -> None:
        assert attribute == "lastPlayedDate", "no other attribute is ever deleted"
        self._tables.board[player].date = None

    def mark(self, shard_id: str, sequence_number: str, state: str) -> None:
        self._tables.quarantine[shard_id, sequence_number].state = state

    def make_source(self, keys: Sequence[str] = ("gameId",)) -> Shard:
        self._streams.partition_key = keys[0]
        self._streams.add_shard(_SHARD)
        return Shard(ARN, _SHARD)

    def write(self, items: Sequence[Mapping[str, Any]]) -> None:
        for item in items:
            self._streams.write(_SHARD, item)

    def overwrite(self, item: Mapping[str, Any]) -> None:
        self._streams.write(_SHARD, item, "MODIFY")

    def remove(self, game_id: str) -> None:
        self._streams.write(_SHARD, {"gameId": {"S": game_id}}, "REMOVE")

    def switch_off(self) -> None:
        self._streams.disable()

    def switch_on(self) -> Shard:
        self._streams.enable(_arn())
        self._streams.add_shard(_SHARD)
        return Shard(self._streams.arn, _SHARD)


def _arn() -> str:
    """A stream's label is the time at which it was switched on."""
    return f"{ARN.rpartition('/')[0]}/{datetime.now(UTC).isoformat(timespec='microseconds').removesuffix('+00:00')}"


def _as_stored(score: fake_tables.Score) -> Score:
    right = {"gamesPlayed": Decimal(score.games), "totalScore": score.total, "lastPlayedDate": score.date}
    values = right | score.wrong
    return Score(values["gamesPlayed"], values["totalScore"], values["lastPlayedDate"])
