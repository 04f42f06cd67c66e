"""Many single writes in one call: BatchExecuteStatement, each of whose statements is a write of its own.

A statement cannot say all that an update can, and engines refuse some for reasons of their own: whatever a reply
leaves open is decided by UpdateItem. Source: API reference of BatchExecuteStatement.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from botocore.exceptions import ClientError

from consumer.aws.board import exact, fits, has_later_date, stored_row, write_row
from consumer.aws.items import number, seconds
from consumer.aws.wire import (
    KIND_OF_CODE,
    body_of_reply,
    call_failed_of,
    code_of,
    decode_json,
    keep_bodies,
    translated,
)
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Delta, WindowSum
from consumer.domain.marks import Mark, Route, RowWrite
from consumer.domain.replies import Done, RowRefused, RowReply
from consumer.domain.windows import GAMES, SCORE

WRITES_PER_CALL: Final = 25
"""Statements that one call may hold."""
_NOWHERE: Final = Mark("-", "-", 0.0)
_PROBE: Final = RowWrite("-", Delta(1, Decimal(1), "9999-12-31"), Route.FOLLOW, _NOWHERE, _NOWHERE)
_HAD, _NEW, _OLD = "day_19700101", "day_19700102", "day_19691231"
_PROBE_OF_WINDOWS: Final = _PROBE._replace(
    delta=_PROBE.delta._replace(windows=tuple(WindowSum(each, 1, Decimal(1)) for each in (_HAD, _NEW))),
    drops=(_OLD,),
    had=frozenset((_HAD, _OLD)),
)
_LEFT_OPEN: Final = ("AccessDenied", "DuplicateItem", "ValidationError")
"""Codes after which an update decides: it may be able to do what the statement is not."""
_NOT_REFUSED: Final = {"Code": "ValidationError", "Message": "a write that fits no row was not refused"}


class Statements:
    """The statements of one leaderboard. `usable`: whether the engine takes their form; see `probe`.

    `windows_usable`: whether it takes that of rows with windows.
    """

    def __init__(self, client: Any, leaderboard: str) -> None:
        self.usable = self.windows_usable = False
        self._client = client
        self._leaderboard = leaderboard
        keep_bodies(client, "BatchExecuteStatement")

    def probe(self, *, windows: bool = False) -> str | None:
        """Tries the form on a mark that no row has. Why it is not usable; None: it is. Raises CallFailed.

        `windows`: rows may have windows. A statement names those that the row has, and those that it has not.
        """
        unusable = self._probe(windows=False)
        self.usable = unusable is None
        if self.usable and windows:
            unusable = self._probe(windows=True)
            self.windows_usable = unusable is None
        return unusable

    def _probe(self, *, windows: bool) -> str | None:
        write = _PROBE_OF_WINDOWS if windows else _PROBE
        with translated():
            try:
                (answer,) = self._execute([write])
                error = answer.get("Error", _NOT_REFUSED)
                if error.get("Code") == "ConditionalCheckFailed":
                    return None
                failure = _failure(error)
            except ClientError as refused:
                failure = call_failed_of(refused)
        if failure.kind not in (FailureKind.DENIED, FailureKind.REJECTED):
            raise failure
        return failure.detail

    def write(self, writes: Sequence[RowWrite]) -> list[RowReply]:
        """The replies to single writes of different players, in their order. Raises CallFailed."""
        together = [write for write in writes if self._says(write)] if self.usable else []
        replies = self._batch(together) if len(together) > 1 else {}
        return [replies.get(write.player) or self._alone(write) for write in writes]

    def _says(self, write: RowWrite) -> bool:
        """Whether a statement can say it. One that adds to a window must know whether the row has it, and a new row
        needs a date.
        """
        if write.route is Route.INSERT and not write.delta.date:
            return False
        if not (write.delta.windows or write.drops):
            return True
        return self.windows_usable and (write.had is not None or write.route is Route.INSERT)

    @translated()
    def _batch(self, writes: Sequence[RowWrite]) -> dict[str, RowReply]:
        """The replies that leave nothing open, by player."""
        try:
            answers = self._execute(writes)
        except ClientError as error:
            if code_of(error) != "ValidationException":
                raise
            return {}
        replies = ((write.player, _reply(write, answer)) for write, answer in zip(writes, answers, strict=True))
        return {player: reply for player, reply in replies if reply is not None}

    def _execute(self, writes: Sequence[RowWrite]) -> list[Mapping[str, Any]]:
        """One answer per write, in their order. Raises what botocore raises, and ValueError and the like."""
        reply = self._client.batch_execute_statement(Statements=[self._statement(write) for write in writes])
        answers: list[Mapping[str, Any]] = decode_json(body_of_reply(reply))["Responses"]
        if len(answers) != len(writes):
            raise ValueError(f"{len(answers)} answers to {len(writes)} statements")
        return answers

    def _alone(self, write: RowWrite) -> RowReply:
        try:
            return write_row(self._client, self._leaderboard, write)
        except CallFailed as failure:
            return failure

    def _statement(self, write: RowWrite) -> dict[str, Any]:
        player, delta, route, found, mark, dated, drops, had = write
        assert mark is not None
        dated = dated and bool(delta.date)
        adds, date = [number(delta.games), exact(delta.total)], {"S": delta.date}
        marks = [{"S": mark.shard}, {"S": mark.to}, seconds(mark.created)]
        names, sums = delta.names, list[dict[str, str]]()
        for _, games, total in delta.windows:
            sums += adds if total is delta.total and games == delta.games else (number(games), exact(total))
        if route is Route.INSERT:
            text = _insert(self._leaderboard, names)
            return {"Statement": text, "Parameters": [{"S": player}, *adds, date, *marks, *sums]}
        assert found is not None
        where = [{"S": player}, {"S": found.shard}, {"S": found.to}]
        new = tuple(name not in had for name in names) if had is not None else ()
        text = _follow(self._leaderboard, dated, names, new, drops)
        parameters = [*adds, *sums, *([date] * dated), *marks, *where, *([date] * dated)]
        return {"Statement": text, "Parameters": parameters, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


@lru_cache(maxsize=256)
def _insert(leaderboard: str, windows: tuple[str, ...]) -> str:
    """A new row with these windows."""
    names = ["playerId", "gamesPlayed", "totalScore", "lastPlayedDate", "appliedShard", "appliedTo", "appliedAt"]
    names += [f"{window}{end}" for window in windows for end in (GAMES, SCORE)]
    return f'INSERT INTO "{leaderboard}" VALUE {{' + ", ".join(f"'{name}': ?" for name in names) + "}"


@lru_cache(maxsize=1024)
def _follow(
    leaderboard: str, dated: bool, windows: tuple[str, ...], new: tuple[bool, ...], drops: tuple[str, ...]
) -> str:
    """An update of a row under its mark. `new`: which of the windows it is known not to have."""
    names = [f"{window}{end}" for window in windows for end in (GAMES, SCORE)]
    missing = [is_new for is_new in new for _ in (GAMES, SCORE)]
    texts = [f'UPDATE "{leaderboard}" SET gamesPlayed = gamesPlayed + ? SET totalScore = totalScore + ?']
    texts += [f"SET {name} = ?" if no else f"SET {name} = {name} + ?" for name, no in zip(names, missing, strict=True)]
    texts += ["SET lastPlayedDate = ?"] * dated
    texts += ["SET appliedShard = ? SET appliedTo = ? SET appliedAt = ?"]
    texts += [f"REMOVE {window}{end}" for window in drops for end in (GAMES, SCORE)]
    texts += ["WHERE playerId = ? AND appliedShard = ? AND appliedTo = ?"]
    texts += ["AND lastPlayedDate <= ?"] * dated
    texts += [f"AND {name} IS MISSING" for name, no in zip(names, missing, strict=True) if no]
    return " ".join(texts)


def _reply(write: RowWrite, answer: Mapping[str, Any]) -> RowReply | None:
    """What an answer says of its write; None: it leaves that open."""
    error = answer.get("Error")
    if error is None:
        return Done()
    code = error.get("Code")
    if code in _LEFT_OPEN:
        return None
    if code != "ConditionalCheckFailed":
        return _failure(error)
    item = error.get("Item")
    if item is None or (fits(stored_row(item), write) and not has_later_date(item, write)):
        return None
    return RowRefused(stored_row(item))


def _failure(error: Mapping[str, Any]) -> CallFailed:
    code = error.get("Code", "")
    kind = KIND_OF_CODE.get(code, FailureKind.SERVER)
    return CallFailed(kind, f"BatchExecuteStatement: {code}: {error.get('Message', '')}")
