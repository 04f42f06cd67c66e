"""The commit: one transaction moves the checkpoint, adds the deltas and quarantines the poison, or nothing happens."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from secrets import token_hex
from typing import Any, Final, NamedTuple

from consumer.aws.board import add_delta, player_key, read_rows, refused_rows, row_action
from consumer.aws.corrections import ITEM_KEY, KEPT, image_value, item_actions, item_key_value, read_items
from consumer.aws.items import (
    FENCE,
    NEW_QUARANTINE_ROW,
    Action,
    Item,
    fence_values,
    gap,
    gap_key,
    is_date,
    iso,
    lease_item,
    lease_key,
    lease_row,
    number,
    quarantine_key,
    resumed_times,
    seconds,
    shard_key,
    strings,
    symptom_item,
    text,
)
from consumer.aws.statements import Statements
from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, keys_of
from consumer.aws.transact import put_new, set_missing, transact, update_item, update_under
from consumer.aws.wire import keep_bodies, translated
from consumer.domain.breaker import Symptom
from consumer.domain.corrections import FoundItem, KeptImage, RecordKey
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Delta, Unit
from consumer.domain.leases import SHARD_END, Lease, LeaseRow, Shard, TableNames
from consumer.domain.marks import RowWrite, StoredRow
from consumer.domain.numbers import EXACT, WIDE
from consumer.domain.records import Correction, Game, Poison, Reason, Verdict
from consumer.domain.replies import CommitReply, Committed, Done, Lost, Refused, RowReply
from consumer.domain.windows import GAMES, SCORE, window_of

COMPARE_AND_SET: Final = "checkpoint = :previous"
"""Makes it exact: a unit counts only where the one before it ended, once."""

ROWS_READ: Final = 10
ROWS_TRIED: Final = 3
"""Of the leaderboard: whether it refuses every game, or only one. Rows may be odd themselves, so one is not enough."""
FULL_BYTES: Final = 409_600 - 200
"""From this size on an item may be too large for one more delta: it has at most 400 KB. Source: as MAX_PLAYER_BYTES."""


class DynamoCommits:
    """The Commits port over a boto3 client. The first action of a shard's transaction is always on its lease row.

    A record that is superseded expires after `retention_days`; None: never.
    """

    def __init__(self, client: Any, tables: TableNames, retention_days: int | None = None) -> None:
        self._client = client
        self._tables = tables
        self._retention_days = retention_days
        self._statements = Statements(client, tables.leaderboard)
        keep_bodies(client, "BatchGetItem")

    def read_rows(
        self, players: Sequence[str], *, consistent: bool = False, windows: bool = False
    ) -> Mapping[str, StoredRow]:
        """One BatchGetItem; see ports.Commits."""
        return read_rows(self._client, self._tables.leaderboard, players, consistent=consistent, windows=windows)

    def read_items(self, items: Sequence[str]) -> Mapping[str, FoundItem | None]:
        """One BatchGetItem, and another one where there are index rows; see ports.Commits."""
        return read_items(self._client, self._tables.quarantine, items)

    def write_rows(self, writes: Sequence[RowWrite]) -> list[RowReply]:
        """Statements in one call, or one UpdateItem each; see ports.Commits."""
        return self._statements.write(writes)

    def probe_statements(self, *, windows: bool = False) -> str | None:
        """Tries whether rows can be written by statements; see Statements.probe."""
        return self._statements.probe(windows=windows)

    @translated()
    def commit(self, lease: Lease, unit: Unit, rows: Sequence[RowWrite], *, fills_gap: bool) -> CommitReply:
        """Lease row, deltas, quarantine and index rows, the gap's end, or the lease row alone; see ports.Commits."""
        actions = [self._advance(lease, unit)]
        actions += [row_action(self._tables.leaderboard, write) for write in rows]
        kept = {write.kept.record: write.kept for write in unit.items if write.kept is not None}
        own = {RecordKey(lease.shard.shard_id, poison.sequence_number): poison for poison in unit.poison}
        for record, poison in own.items():
            actions += self._quarantine(lease.shard, poison, unit.cut_at, kept.get(record))
        items_from = len(actions)
        for write in unit.items:
            actions += item_actions(self._tables.quarantine, write, unit.cut_at, self._retention_days, own)
        items_to = len(actions)
        if fills_gap:
            filled = {**gap(lease.shard, unit.previous, unit.cut_at), "to": {"S": unit.first}}
            actions.append(set_missing(self._tables.quarantine, gap_key(lease.shard, unit.previous), filled))
        if len(actions) == 1:
            failed, item = update_under(self._client, actions[0]["Update"])
            return Lost(lease_row(item) if item else None) if failed else Committed()
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Committed()
        if 0 in cancelled.failed:
            return cancelled.lost
        items = any(items_from <= index < items_to for index in cancelled.failed)
        return replace(refused_rows(cancelled, rows), items=items)

    @translated()
    def end(self, lease: Lease, previous: str, children: tuple[str, ...], rows: tuple[LeaseRow, ...]) -> CommitReply:
        """Lease row and the children's new rows; see ports.Commits."""
        values = {":last": {"S": SHARD_END}, ":children": strings(children)}
        actions = [self._update_held(lease, previous, "SET checkpoint = :last, childShardIds = :children", values)]
        actions += [put_new(self._tables.leases, lease_item(row)) for row in rows]
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Committed()
        if 0 in cancelled.failed:
            return cancelled.lost
        existing = frozenset(rows[index - 1].shard.shard_id for index in cancelled.failed)
        return Refused(conflict=cancelled.conflict, invalid=cancelled.invalid, existing=existing)

    @translated()
    def halt(self, lease: Lease, previous: str, resumes: int, halted_at: float, symptom: Symptom) -> Done | Lost:
        """One fenced update, which does not move the checkpoint; see ports.Commits."""
        unresumed, values = resumed_times(resumes)
        failed, item = update_item(
            self._client,
            self._tables.leases,
            shard_key(lease.shard),
            f"SET haltedAt = :at, {', '.join(f'{name} = :{name}' for name in symptom_item(symptom))}",
            f"{FENCE} AND {COMPARE_AND_SET} AND {unresumed}",
            {
                **fence_values(lease),
                ":previous": {"S": previous},
                ":at": seconds(halted_at),
                **{f":{name}": value for name, value in symptom_item(symptom).items()},
                **values,
            },
        )
        return Lost(lease_row(item) if item else None) if failed else Done()

    def record_gap(self, shard: Shard, checkpoint: str, found_at: float, lease: Lease | None = None) -> bool | Lost:
        """Puts the gap's row if it is absent; see ports.Commits."""
        item = {**gap_key(shard, checkpoint), **gap(shard, checkpoint, found_at)}
        held = [] if lease is None else [{"ConditionCheck": self._held(lease, checkpoint)}]
        put = put_new(self._tables.quarantine, item, NEW_QUARANTINE_ROW)
        cancelled = transact(self._client, [*held, put])
        if cancelled is None:
            return True
        cancelled.require_failed_condition()
        return cancelled.lost if held and 0 in cancelled.failed else False

    def examine(self, game: Game | Correction) -> Verdict | None:
        """Looks for what the transaction may have been refused for in all three tables; see ports.Commits."""
        with translated():
            for table, keys in zip(self._tables, (LEASE_KEYS, LEADERBOARD_KEYS, QUARANTINE_KEYS), strict=True):
                if keys_of(self._client.describe_table(TableName=table)["Table"]) != keys:
                    raise CallFailed(FailureKind.REJECTED, f"table {table} now has another key; no record is to blame")
            shares = shares_of(game)
            rows = [self._stored(share.player) for share in shares]
        for row, share in zip(rows, shares, strict=True):
            if (verdict := verdict_on(row, share.score, share.windows)) is not None:
                return verdict
        self._prove_sound(frozenset(share.player for share in shares))
        return None

    def _stored(self, player: str) -> Item:
        """A player's row as it is; empty: there is none."""
        key = player_key(player)
        reply = self._client.get_item(TableName=self._tables.leaderboard, Key=key, ConsistentRead=True)
        item: Item | None = reply.get("Item")
        return item or {}

    def _prove_sound(self, players: Collection[str]) -> None:
        """Writes what changes nothing to a row of another player (last: to one of theirs), which proves the table.

        Raises CallFailed when three rows, or all there are, are refused it, as by an index whose key has another type;
        and when there is no row to try it on: then it is not known whether a record is to blame.
        """
        table = self._tables.leaderboard
        with translated():
            found = self._client.scan(TableName=table, Limit=ROWS_READ)["Items"]
        sound = (row for row in found if "totalScore" in row and verdict_on(row, Decimal(0)) is None)
        refusal, conflict = "no other row shows whether it takes any", False
        for row in sorted(sound, key=lambda row: text(row, "playerId") in players)[:ROWS_TRIED]:
            delta = Delta(0, Decimal(0), text(row, "lastPlayedDate") or "")
            add = add_delta(table, row["playerId"]["S"], delta, dated=bool(delta.date))
            # A fresh token: DynamoDB does not check again what it was sent within ten minutes.
            cancelled = transact(self._client, [add], token_hex(16))
            if cancelled is None:
                return
            conflict |= cancelled.conflict or bool(cancelled.failed)
            refusal = cancelled.invalid or refusal
        if conflict:
            raise CallFailed(
                FailureKind.CONFLICT, f"the rows of {table} that were to be tried are held by other writes"
            )
        raise CallFailed(FailureKind.REJECTED, f"table {table} refuses the games of all players: {refusal}")

    def _advance(self, lease: Lease, unit: Unit) -> Action:
        """Moves the checkpoint to the unit's last record, with the window of recent poison."""
        values: dict[str, Any] = {":last": {"S": unit.last}, ":created": seconds(unit.created)}
        expression = "SET checkpoint = :last, checkpointCreatedAt = :created"
        removed = [] if unit.circuit.free_to is not None else ["freeTo"]
        if unit.circuit.had_game:
            expression += ", hadGame = :yes"
            values[":yes"] = {"BOOL": True}
        if unit.circuit.ignored:
            expression += ", ignoredCorrections = :yes"
            values[":yes"] = {"BOOL": True}
        if unit.circuit.recent:
            expression += ", recentPoison = :recent"
            values[":recent"] = {"S": f"{unit.circuit.recent:x}"}
        else:
            removed.append("recentPoison")
        if removed:
            expression += f" REMOVE {', '.join(removed)}"
        return self._update_held(lease, unit.previous, expression, values)

    def _update_held(self, lease: Lease, previous: str, expression: str, values: dict[str, Any]) -> Action:
        update = self._held(lease, previous)
        update["UpdateExpression"] = expression
        update["ExpressionAttributeValues"] |= values
        return {"Update": update}

    def _held(self, lease: Lease, checkpoint: str) -> dict[str, Any]:
        """The condition of every transaction of a shard: the lease is ours and the checkpoint is where we left it."""
        return {
            "TableName": self._tables.leases,
            "Key": lease_key(shard_key(lease.shard)),
            "ConditionExpression": f"{FENCE} AND {COMPARE_AND_SET}",
            "ExpressionAttributeValues": {**fence_values(lease), ":previous": {"S": checkpoint}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _quarantine(self, shard: Shard, poison: Poison, at: float, kept: KeptImage | None = None) -> list[Action]:
        """Head row and part rows. An existing head row is never reset: an operator may have resolved it.

        Such a row comes back into the index of pending records; a count there also looks at the state.
        """
        values = {
            ":shard": {"S": shard.shard_id},
            ":pending": {"S": "pending"},
            ":reason": {"S": poison.reason.value},
            ":detail": {"S": poison.detail},
            ":at": {"S": iso(at)},
            ":created": seconds(poison.created),
            ":arn": {"S": shard.stream_arn},
            ":parts": number(len(poison.parts)),
        }
        expression = (
            "SET #state = if_not_exists(#state, :pending), reason = if_not_exists(reason, :reason), "
            "detail = if_not_exists(detail, :detail), quarantinedAt = if_not_exists(quarantinedAt, :at), "
            "createdAt = :created, streamArn = :arn, parts = :parts, pendingShardId = :shard"
        )
        if poison.player is not None:
            expression += ", playerId = :player"
            values[":player"] = {"S": poison.player}
        if poison.about is not None:
            expression += f", {ITEM_KEY} = :item"
            values[":item"] = item_key_value(poison.about.item)
        if kept is not None:
            expression += f", {KEPT} = if_not_exists({KEPT}, :kept)"
            values[":kept"] = image_value(kept.counted)
        head = {
            "TableName": self._tables.quarantine,
            "Key": quarantine_key(shard.shard_id, poison.sequence_number),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": values,
        }
        parts = [
            {
                "TableName": self._tables.quarantine,
                "Key": quarantine_key(shard.shard_id, f"{poison.sequence_number}#{position}"),
                "UpdateExpression": "SET #record = :record",
                "ExpressionAttributeNames": {"#record": "record"},
                "ExpressionAttributeValues": {":record": {"B": part}},
            }
            for position, part in enumerate(poison.parts, start=1)
        ]
        return [{"Update": update} for update in (head, *parts)]


class Share(NamedTuple):
    """What a record adds to the row of one player. `windows`: those that it counts in; None: not known."""

    player: str
    score: Decimal
    windows: Collection[str] | None = ()


def shares_of(record: Game | Correction) -> list[Share]:
    """What a game, or a correction of what is counted of its item, adds to the row of each player."""
    if isinstance(record, Game):
        return [Share(record.player, record.score, record.windows)]
    scores: dict[str, Decimal] = {}
    for image, sign in ((record.new, 1), (record.old, -1)):
        if image is not None:
            scores[image.player] = WIDE.add(scores.get(image.player, Decimal(0)), WIDE.multiply(image.score, sign))
    return [Share(player, score, None) for player, score in scores.items()]


def verdict_on(stored: Item, score: Decimal, windows: Collection[str] | None = ()) -> Verdict | None:
    """Why this score can never be added to the player's stored row; None when nothing speaks against it.

    `windows`: those that it counts in; None: not known, so that any of the row's may be one.
    """
    if windows is None:
        windows = sorted({window for name in stored if (window := window_of(name)) is not None})
    scores = ["totalScore", *(f"{window}{SCORE}" for window in windows)]
    for name in (*scores, "gamesPlayed", *(f"{window}{GAMES}" for window in windows)):
        if name in stored and text(stored, name, "N") is None:
            return Reason.TOTAL_TYPE, f"the stored {name} is of type {_type(stored, name)}; N is right"
    date = text(stored, "lastPlayedDate")
    if "lastPlayedDate" in stored and (date is None or not is_date(date)):
        return Reason.DATE_TYPE, f"the stored lastPlayedDate ({_type(stored, 'lastPlayedDate')}) is no date"
    if (size := size_of(stored)) > FULL_BYTES:
        return Reason.REFUSED, f"the player's row has about {size:,} bytes, and an item has at most 409,600"
    for name in scores:
        try:
            EXACT.add(EXACT.create_decimal(text(stored, name, "N") or "0"), score)
        except ArithmeticError:
            return Reason.TOTAL_OVERFLOW, f"the new {name} would leave the range of a DynamoDB number"
    return None


def size_of(item: Item) -> int:
    """About how many bytes an item counts: names and values; a number half a byte per digit.

    Source: Developer Guide, "DynamoDB item sizes and formats".
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Any) -> int:
    ((tag, content),) = value.items()
    match tag:
        case "S":
            return len(content.encode())
        case "N":
            return len(content) // 2 + 2
        case "L":
            return 3 + sum(1 + _value_bytes(each) for each in content)
        case "M":
            return 3 + len(content) + size_of(content)
        case "SS" | "NS" | "BS":
            return 3 + sum(_value_bytes({tag[0]: each}) for each in content)
        case "B":
            return len(content)
        case _:
            return 1


def _type(stored: Item, name: str) -> str:
    return ", ".join(stored[name])
