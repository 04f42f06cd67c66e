"""What a replay would count, read and folded; nothing is written."""

from consumer.domain.leaderboard import Delta
from consumer.domain.leases import Shard
from consumer.domain.records import Game, Rules
from consumer.operations.replay.calls import Due, FindRows, ReadReply, Reply, Rows
from consumer.operations.replay.cutter import word_of
from consumer.operations.replay.reader import Reader, number_of
from consumer.operations.ward import fold_in


class Foresight:
    """The machine of a recount's dry run. It adds to `deltas`; `skipped`: why records would not count, by number."""

    def __init__(
        self, shard: Shard, reader: Reader, rules: Rules, floor: float | None, deltas: dict[str, Delta]
    ) -> None:
        self.deltas = deltas
        self.games = 0
        self.skipped: dict[str, str] = {}
        self.reader = reader
        self._rules, self._floor = rules, floor
        self._rows: Rows | None = None
        self._shard = shard

    def due(self) -> Due | None:
        """The quarantine's rows, then page after page."""
        if self._rows is None:
            return Due(FindRows(self._shard))
        self._fold()
        return self.reader.due()

    def take(self, reply: Reply) -> int | None:
        """The reply to the call that is due; how many games were found."""
        if isinstance(reply, Rows):
            self._rows = reply
            return None
        assert isinstance(reply, ReadReply)
        self.reader.take(reply)
        return self.games

    def _fold(self) -> None:
        assert self._rows is not None
        while self.reader.wires:
            wire = self.reader.wires.popleft()
            number = number_of(wire)
            entry, _, why = word_of(wire, self._rows.heads.get(number), self._rules, self._floor)
            if why is not None:
                self.skipped[number] = why
            if isinstance(entry, Game):
                self.games += 1
                fold_in(self.deltas, entry)
