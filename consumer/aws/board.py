"""The rows of the leaderboard: how deltas are added to them, and what their marks must be for that.

A write of a row alone and an action of a transaction are the same update under the same condition.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError
from msgspec import Struct
from msgspec.json import Decoder

from consumer.aws.items import Action, Item, is_date, number, seconds, text
from consumer.aws.transact import UPDATE_CONDITION_FAILED, Cancelled
from consumer.aws.wire import body_of_reply, code_of, decode_json, translated
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Delta
from consumer.domain.leases import is_sequence_number
from consumer.domain.marks import ABSENT, Mark, Route, RowWrite, StoredRow, one_of_many
from consumer.domain.records import UNKNOWN_CREATION
from consumer.domain.replies import Done, Refused, RowRefused
from consumer.domain.windows import GAMES, SCORE, window_of

ADD: Final = "ADD gamesPlayed :games, totalScore :total"
SET_DATE: Final = "lastPlayedDate = :date"
NO_DATE: Final = "a stored lastPlayedDate is no date"
DATE_GROWS: Final = "attribute_not_exists(lastPlayedDate) OR lastPlayedDate <= :date"
NO_ROW: Final = "attribute_not_exists(playerId)"
NO_MARK: Final = "attribute_not_exists(appliedShard)"
SAME_SHARD: Final = "appliedShard = :found"
SAME_MARK: Final = f"{SAME_SHARD} AND appliedTo = :foundTo"
"""The row holds what it held when it was read: a write that comes late, or twice, changes nothing."""
CONDITIONS: Final = {
    Route.INSERT: NO_ROW,
    Route.FOLLOW: SAME_MARK,
    Route.FRESH: NO_MARK,
    Route.MARKED: SAME_MARK,
    Route.TAKE_OVER: SAME_MARK,
    Route.SHARED: SAME_SHARD,
    Route.PLAIN: "",
}
SET_MARK: Final = "appliedShard = :shard, appliedTo = :to, appliedAt = :at"
SET_EMPTY: Final = "gamesPlayed = if_not_exists(gamesPlayed, :none), totalScore = if_not_exists(totalScore, :none)"
"""A row whose first record is poison. Readers leave out rows without games."""
_READ: Final = "playerId, appliedShard, appliedTo, appliedAt, lastPlayedDate"


def player_key(player: str) -> dict[str, Any]:
    """The key of a player's row."""
    return {"playerId": {"S": player}}


def add_delta(leaderboard: str, player: str, delta: Delta, *, dated: bool) -> Action:
    """Adds a delta to a player's row, whatever its mark. Not `dated`: the stored date is a later one and stays."""
    return row_action(leaderboard, RowWrite(player, delta, dated=dated))


def row_action(leaderboard: str, write: RowWrite) -> Action:
    """The write as an action of a transaction. Where it changes nothing it is a check of the mark."""
    update = row_update(leaderboard, write)
    return {"Update" if "UpdateExpression" in update else "ConditionCheck": update}


def row_update(leaderboard: str, write: RowWrite) -> dict[str, Any]:
    """The update of a player's row and its condition, as UpdateItem takes them."""
    player, delta, route, found, mark, dated, drops, _ = write
    adds = delta.adds or route is Route.PLAIN  # a probe of the table adds nothing, and asks for the same
    dated = dated and bool(delta.date)
    apart = tuple([total is not delta.total or games != delta.games for _, games, total in delta.windows])
    texts = _texts(route, adds, dated, mark is not None, found is not None, delta.names, apart, drops)
    expression, condition = texts
    values: dict[str, Any] = {}
    if adds:
        values = {":games": number(delta.games), ":total": exact(delta.total)}
        for position, (_, games, total) in enumerate(delta.windows) if True in apart else ():
            if apart[position]:
                values[f":games{position}"], values[f":total{position}"] = number(games), exact(total)
    elif mark is not None:
        values = {":none": number(0)}
    if dated:
        values[":date"] = {"S": delta.date}
    if mark is not None:
        values |= {":shard": {"S": mark.shard}, ":to": {"S": mark.to}, ":at": seconds(mark.created)}
    if found is not None:
        values[":found"] = {"S": found.shard}
        if ":foundTo" in condition:
            values[":foundTo"] = {"S": found.to}
    update: dict[str, Any] = {"TableName": leaderboard, "Key": player_key(player)}
    if expression:
        update["UpdateExpression"] = expression
    if values:
        update["ExpressionAttributeValues"] = values
    if condition:
        update["ConditionExpression"] = condition
        update["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return update


@lru_cache(maxsize=1024)
def _texts(
    route: Route,
    adds: bool,
    dated: bool,
    marks: bool,
    found: bool,
    windows: tuple[str, ...] = (),
    apart: tuple[bool, ...] = (),
    drops: tuple[str, ...] = (),
) -> tuple[str, str]:
    """The update's expression and its condition; empty: there is none. `apart`: windows with sums of their own."""
    ends = [str(at) if own else "" for at, own in enumerate(apart)]
    sums = [f"{name}{GAMES} :games{end}, {name}{SCORE} :total{end}" for name, end in zip(windows, ends, strict=True)]
    sets = [SET_DATE] * dated + [SET_EMPTY] * (marks and not adds) + [SET_MARK] * marks
    removed = [f"{window}{GAMES}, {window}{SCORE}" for window in drops]
    expression = " ".join(
        [", ".join([ADD, *sums])] * adds
        + ["SET " + ", ".join(sets)] * bool(sets)
        + ["REMOVE " + ", ".join(removed)] * bool(removed)
    )
    condition = CONDITIONS[route] if route is not Route.CHECKED else SAME_MARK if found else NO_MARK
    if not dated or route is Route.INSERT:
        return expression, condition
    return expression, f"{condition} AND ({DATE_GROWS})" if condition else DATE_GROWS


def write_row(client: Any, leaderboard: str, write: RowWrite) -> Done | RowRefused | Refused:
    """Writes one row alone. A refused condition returns the row as it is; where it does not, the row is read.

    Raises CallFailed.
    """
    with translated():
        try:
            client.update_item(**row_update(leaderboard, write))
            return Done()
        except ClientError as error:
            if code_of(error) == "ValidationException":
                return Refused(invalid=str(error.response["Error"].get("Message", "")))
            if code_of(error) != UPDATE_CONDITION_FAILED:
                raise
            item: Item | None = error.response.get("Item")
        if item is None:
            item = _read(client, leaderboard, write.player)
        row = stored_row(item)
        if item is not None and fits(row, write) and not has_later_date(item, write):
            return Refused(invalid=NO_DATE, suspects=frozenset([write.player]))
        return RowRefused(row)


def read_row(client: Any, leaderboard: str, player: str) -> StoredRow:
    """A player's row, read consistently. Raises CallFailed."""
    with translated():
        return stored_row(_read(client, leaderboard, player))


def _read(client: Any, leaderboard: str, player: str) -> Item | None:
    item: Item | None = client.get_item(TableName=leaderboard, Key=player_key(player), ConsistentRead=True).get("Item")
    return item


def remove_mark(leaderboard: str, player: str, mark: Mark) -> Action:
    """Makes a row one without a mark, if it still has this one. What it counts stays."""
    return {
        "Update": {
            "TableName": leaderboard,
            "Key": player_key(player),
            "UpdateExpression": "REMOVE appliedShard, appliedTo, appliedAt",
            "ConditionExpression": SAME_MARK,
            "ExpressionAttributeValues": {":found": {"S": mark.shard}, ":foundTo": {"S": mark.to}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def read_rows(
    client: Any, leaderboard: str, players: Sequence[str], *, consistent: bool = False, windows: bool = False
) -> dict[str, StoredRow]:
    """What the table says of these players' rows (at most 100), eventually consistent at half the price.

    Players whose rows it did not read this time are missing. Raises CallFailed when it read none. `windows`: also which
    windows they have. Their names are not known before, so whole rows are sent then, for the same read units.
    """
    with translated():
        wanted: dict[str, Any] = {"Keys": [player_key(player) for player in players], "ConsistentRead": consistent}
        if not windows:
            wanted["ProjectionExpression"] = _READ
        body = body_of_reply(client.batch_get_item(RequestItems={leaderboard: wanted}))
        rows, unread = (_windowed_rows if windows else _plain_rows)(body, leaderboard), set[str]()
        if rows is None:
            reply = decode_json(body)
            left = reply.get("UnprocessedKeys", {}).get(leaderboard, {}).get("Keys", ())
            unread = {key["playerId"]["S"] for key in left}
            items = reply["Responses"].get(leaderboard, ())
            rows = {item["playerId"]["S"]: stored_row(item, windows=windows) for item in items}
    if len(unread) == len(players):
        raise CallFailed(FailureKind.THROTTLED, "BatchGetItem: no row was read")
    return {player: rows.get(player, ABSENT) for player in players if player not in unread}


class _Text(Struct, frozen=True, gc=False):
    S: str


class _Number(Struct, frozen=True, gc=False):
    N: str


class _PlainRow(Struct, frozen=True, gc=False):
    """A row as workers write it."""

    player: _Text = msgspec.field(name="playerId")
    shard: _Text = msgspec.field(name="appliedShard")
    to: _Text = msgspec.field(name="appliedTo")
    at: _Number = msgspec.field(name="appliedAt")
    date: _Text = msgspec.field(name="lastPlayedDate")


class _PlainReply(Struct, frozen=True, gc=False):
    tables: dict[str, list[_PlainRow]] = msgspec.field(name="Responses")
    unread: dict[str, Any] = msgspec.field(name="UnprocessedKeys", default_factory=dict)


class _WindowedReply(Struct, frozen=True, gc=False):
    tables: dict[str, list[dict[str, dict[str, str]]]] = msgspec.field(name="Responses")
    unread: dict[str, Any] = msgspec.field(name="UnprocessedKeys", default_factory=dict)


_PLAIN: Final = Decoder(_PlainReply)


def _plain_rows(body: bytes, leaderboard: str) -> dict[str, StoredRow] | None:
    """What a reply says of rows all of which are as workers write them, as `stored_row` says it; None: some are not."""
    try:
        reply = _PLAIN.decode(body)
    except ValueError:
        return None
    rows = {}
    for row in reply.tables.get(leaderboard, ()):
        if not (is_sequence_number(row.to.S) and is_date(row.date.S)):
            return None
        rows[row.player.S] = StoredRow(mark=Mark(row.shard.S, row.to.S, float(row.at.N)), date=row.date.S)
    return None if reply.unread else rows


_WINDOWED: Final = Decoder(_WindowedReply)


def _windowed_rows(body: bytes, leaderboard: str) -> dict[str, StoredRow] | None:
    """The same with the windows of the rows."""
    rows = {}
    try:
        reply = _WINDOWED.decode(body)
        for row in reply.tables.get(leaderboard, ()):
            date, mark = row["lastPlayedDate"]["S"], None
            if "appliedShard" in row:
                mark = Mark(row["appliedShard"]["S"], row["appliedTo"]["S"], float(row["appliedAt"]["N"]))
            if not is_date(date) or (mark is not None and not is_sequence_number(mark.to)):
                return None
            rows[row["playerId"]["S"]] = StoredRow(mark=mark, date=date, windows=_windows_among(tuple(row)))
    except (LookupError, ValueError):
        return None
    return None if reply.unread else rows


@lru_cache(maxsize=4096)
def _windows_among(names: tuple[str, ...]) -> frozenset[str]:
    """The windows of a row that has these attributes."""
    return one_of_many(frozenset(filter(None, map(window_of, names))))


def stored_row(item: Item | None, *, windows: bool = False) -> StoredRow:
    """What an item of the leaderboard says of its player; None: there is no row. `windows`: also that it has none.

    A damaged mark is one of a shard that nothing knows: the worker halts before it.
    """
    if item is None:
        return ABSENT
    shard, to, created = text(item, "appliedShard"), text(item, "appliedTo"), text(item, "appliedAt", "N")
    date = text(item, "lastPlayedDate")
    if shard is not None and is_sequence_number(to) and to is not None and created is not None:
        mark: Mark | None = Mark(shard, to, float(created))
    else:
        mark = Mark(f"{shard} (damaged)", "0", UNKNOWN_CREATION) if "appliedShard" in item else None
    found = _windows_among(tuple(item))
    return StoredRow(
        mark=mark,
        date=date if date is not None and is_date(date) else None,
        windows=found if found or windows else None,
    )


def is_later(stored: str, date: str) -> bool:
    """Whether the stored text is a date, and later than `date`: then the delta counts without its date."""
    return stored > date and is_date(stored)


def refused_rows(cancelled: Cancelled, writes: Sequence[RowWrite]) -> Refused:
    """The reply when the writes, which are the actions from 1 on, were refused.

    A row whose mark is as expected was refused for its date: where that is no later date, the player is suspect.
    """
    later: dict[str, str] = {}
    rows: dict[str, StoredRow] = {}
    suspects = {writes[index - 1].player for index in cancelled.invalid_at if 0 < index <= len(writes)}
    for index, item in cancelled.failed.items():
        if not 0 < index <= len(writes):
            continue
        write, row = writes[index - 1], stored_row(item)
        if write.route is not Route.PLAIN and not fits(row, write):
            rows[write.player] = row
        elif has_later_date(item, write):
            later[write.player] = row.date or ""
        else:
            suspects.add(write.player)
    invalid = cancelled.invalid or (NO_DATE if suspects else None)
    return Refused(later, cancelled.conflict, invalid, frozenset(suspects), rows=rows)


def refused_deltas(cancelled: Cancelled, players: Sequence[str], deltas: Mapping[str, Delta]) -> Refused:
    """The same for deltas that were added whatever the marks."""
    return refused_rows(cancelled, [RowWrite(player, deltas[player]) for player in players])


def fits(row: StoredRow, write: RowWrite) -> bool:
    """Whether the row has the mark that the write expects."""
    if write.route is Route.INSERT:
        return not row.exists
    if row.mark is None or write.found is None:
        return row.mark is write.found
    return row.mark.shard == write.found.shard and (write.route is Route.SHARED or row.mark.to == write.found.to)


def has_later_date(item: Item | None, write: RowWrite) -> bool:
    """Whether the row keeps its own date, which is a later one than the write's."""
    stored = text(item or {}, "lastPlayedDate")
    return write.dated and bool(write.delta.date) and stored is not None and is_later(stored, write.delta.date)


def exact(total: Decimal) -> dict[str, str]:
    """Every digit. Zero has no exponent: a sum may be 0E-167, which an engine may take for too small a number."""
    return {"N": str(total or 0)}
