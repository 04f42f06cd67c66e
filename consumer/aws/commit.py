"""The commit: one transaction moves the checkpoint, adds the deltas and quarantines the poison, or nothing happens."""

from typing import Any, Final

from consumer.aws.adapters import WorkerAdapter
from consumer.aws.deltas import add, refused
from consumer.aws.errors import translated
from consumer.aws.examine import examine
from consumer.aws.gaps import fill, gap
from consumer.aws.items import (
    FENCE,
    NEW_ROW,
    fence_values,
    gap_key,
    iso,
    lease_item,
    lease_key,
    lease_row,
    number,
    seconds,
    shard_key,
    strings,
)
from consumer.aws.rows import PENDING
from consumer.aws.transaction import Action, Cancelled, transact
from consumer.aws.update import update
from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Lease, LeaseRow, Shard
from consumer.domain.outcomes import CommitReply, Committed, Done, Lost, Refused
from consumer.domain.position import SHARD_END
from consumer.domain.records import Game, Poison, Verdict

COMPARE_AND_SET: Final = "checkpoint = :previous"
"""Makes it exact: a unit counts only where the one before it ended, once."""


class DynamoCommits(WorkerAdapter):
    """The Commits port over a boto3 client."""

    @translated()
    def commit(self, lease: Lease, unit: Unit, later: frozenset[str], *, fills_gap: bool) -> CommitReply:
        """Writes a unit; see ports.Commits."""
        players = list(unit.deltas)
        recent, removed = unit.circuit.recent, ["freeTo"] if unit.circuit.free_to is None else []
        expression = "SET checkpoint = :last, checkpointCreatedAt = :created"
        values = {":last": {"S": unit.last}, ":created": seconds(unit.created)}
        if recent:
            expression += ", recentPoison = :recent"
            values[":recent"] = {"S": f"{recent:x}"}
        else:
            removed.append("recentPoison")
        expression += f" REMOVE {', '.join(removed)}" if removed else ""
        advance = self._advance(lease, unit.previous, expression)
        advance["Update"]["ExpressionAttributeValues"] |= values
        actions = [advance]
        actions += [
            add(self._leaderboard, player, unit.deltas[player], dated=player not in later) for player in players
        ]
        for poison in unit.poison:
            actions += self._quarantined(lease.shard, poison, unit.cut_at)
        if fills_gap:
            row = {**gap(lease.shard, unit.previous, unit.cut_at), "to": {"S": unit.first}}
            actions.append(fill(self._quarantine, gap_key(lease.shard, unit.previous), row))
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Committed()
        return _lost(cancelled) or refused(cancelled, players, unit.deltas)

    @translated()
    def end(self, lease: Lease, previous: str, children: tuple[str, ...], rows: tuple[LeaseRow, ...]) -> CommitReply:
        """Finishes a shard; see ports.Commits."""
        advance = self._advance(lease, previous, "SET checkpoint = :last, childShardIds = :children")
        advance["Update"]["ExpressionAttributeValues"] |= {":last": {"S": SHARD_END}, ":children": strings(children)}
        puts: list[Action] = [
            {"Put": {"TableName": self._leases, "Item": lease_item(row), "ConditionExpression": NEW_ROW}}
            for row in rows
        ]
        cancelled = transact(self._client, [advance, *puts])
        if cancelled is None:
            return Committed()
        existing = frozenset(rows[index - 1].shard.shard_id for index in cancelled.failed if index > 0)
        return _lost(cancelled) or Refused(conflict=cancelled.conflict, invalid=cancelled.invalid, existing=existing)

    @translated()
    def halt(self, lease: Lease, previous: str, resumes: int, halted_at: float) -> Done | Lost:
        """A fenced write of its own, which moves nothing; see ports.Commits."""
        unresumed = "resumes = :resumes" if resumes else "attribute_not_exists(resumes)"
        failed, item = update(
            self._client,
            self._leases,
            shard_key(lease.shard),
            "SET haltedAt = :at",
            f"{FENCE} AND {COMPARE_AND_SET} AND {unresumed}",
            {
                **fence_values(lease),
                ":previous": {"S": previous},
                ":at": seconds(halted_at),
                **({":resumes": number(resumes)} if resumes else {}),
            },
        )
        return Lost(lease_row(item) if item else None) if failed else Done()

    def record_gap(self, shard: Shard, checkpoint: str, found_at: float, lease: Lease | None = None) -> bool | Lost:
        """Puts the gap's row if it is absent; see ports.Commits."""
        item = {**gap_key(shard, checkpoint), **gap(shard, checkpoint, found_at)}
        put = {"TableName": self._quarantine, "Item": item, "ConditionExpression": "attribute_not_exists(shardId)"}
        held = [] if lease is None else [{"ConditionCheck": self._held(lease, checkpoint)}]
        cancelled = transact(self._client, [*held, {"Put": put}])
        if cancelled is None:
            return True
        cancelled.only_conditions()
        return (_lost(cancelled) if held else None) or False

    def examine(self, game: Game) -> Verdict | None:
        """Why a game was refused alone; see ports.Commits."""
        return examine(self._client, self._leases, self._leaderboard, self._quarantine, game)

    @translated()
    def pending(self) -> int:
        """Scans the quarantine table for pending rows; see ports.Commits."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._quarantine,
            Select="COUNT",
            **PENDING,
        )
        return sum(int(page["Count"]) for page in pages)

    def _advance(self, lease: Lease, previous: str, update: str) -> Action:
        """The first action of every transaction of a shard: its row moves on, if it is ours and where we left it."""
        return {"Update": {**self._held(lease, previous), "UpdateExpression": update}}

    def _held(self, lease: Lease, checkpoint: str) -> dict[str, Any]:
        return {
            "TableName": self._leases,
            "Key": lease_key(shard_key(lease.shard)),
            "ConditionExpression": f"{FENCE} AND {COMPARE_AND_SET}",
            "ExpressionAttributeValues": {**fence_values(lease), ":previous": {"S": checkpoint}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _quarantined(self, shard: Shard, poison: Poison, at: float) -> list[Action]:
        """Head row and part rows. An existing head is never reset: a person may have dealt with it."""
        names = {"#state": "state"}
        values = {
            ":pending": {"S": "pending"},
            ":reason": {"S": poison.reason.value},
            ":detail": {"S": poison.detail},
            ":at": {"S": iso(at)},
            ":created": seconds(poison.created),
            ":arn": {"S": shard.stream_arn},
            ":parts": number(len(poison.parts)),
        }
        update = (
            "SET #state = if_not_exists(#state, :pending), reason = if_not_exists(reason, :reason), "
            "detail = if_not_exists(detail, :detail), quarantinedAt = if_not_exists(quarantinedAt, :at), "
            "createdAt = :created, streamArn = :arn, parts = :parts"
        )
        if poison.player is not None:
            update += ", playerId = :player"
            values[":player"] = {"S": poison.player}
        head = {
            "TableName": self._quarantine,
            "Key": _quarantine_key(shard, poison.sequence_number),
            "UpdateExpression": update,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
        parts = [
            {
                "TableName": self._quarantine,
                "Key": _quarantine_key(shard, f"{poison.sequence_number}#{position}"),
                "UpdateExpression": "SET #record = :record",
                "ExpressionAttributeNames": {"#record": "record"},
                "ExpressionAttributeValues": {":record": {"B": part}},
            }
            for position, part in enumerate(poison.parts, start=1)
        ]
        return [{"Update": update} for update in (head, *parts)]


def _lost(cancelled: Cancelled) -> Lost | None:
    """The lease condition, action 0, failed: nothing else matters."""
    if 0 not in cancelled.failed:
        return None
    item = cancelled.failed[0]
    return Lost(lease_row(item) if item else None)


def _quarantine_key(shard: Shard, sort: str) -> dict[str, Any]:
    return {"shardId": {"S": shard.shard_id}, "sequenceNumber": {"S": sort}}
