"""`consumer verify` over the real tables and streams."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from consumer.aws.clients import connect
from consumer.aws.quarantine import DynamoQuarantine
from consumer.aws.scans import DynamoScans
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import table_of
from consumer.domain.verification import Assumption
from consumer.operations.game_fold import GameLine
from consumer.operations.sums import Sums
from consumer.operations.verify import Findings, Preview, Report, Request, Verification
from consumer.settings import Settings
from consumer.wiring.operators import KEYS, LONG_ANSWER_SECONDS, Session, refusing
from consumer.wiring.rules import rules_of


@dataclass(frozen=True, slots=True)
class Verifier:
    """A verification that has not begun: `preview` is known so far, `run` reads and judges, `sums` has the rest."""

    preview: Preview
    run: Callable[[str | None, int | None, Report], Findings]
    """Of all players; or of one; or of so many, by chance."""
    sums: Sums
    lines: Callable[[], list[GameLine] | None]
    """What became of the items of the one player."""


@contextmanager
def verification(
    settings: Settings,
    *,
    timeout_seconds: float,
    max_read_units: float | None,
    assumed: Collection[Assumption],
    temp_dir: str | None,
) -> Iterator[Verifier]:
    """The tables are looked at, and nothing of the games is read yet. Failed calls leave as StartRefused."""
    session = Session(settings, *KEYS)
    session.retry_seconds = LONG_ANSWER_SECONDS
    source = _source(session, settings)
    request = Request(session.names, rules_of(settings), timeout_seconds, max_read_units, frozenset(assumed))
    sums = Sums(temp_dir)
    try:
        with refusing():
            command = Verification(
                DynamoScans(connect(settings.pool_size, stop=session.stop).dynamodb, session.names, source),
                session.reader(),
                DynamoQuarantine(session.dynamodb, session.names, session.stop),
                session.streams(),
                sums,
                request,
            )
            preview = session.run(command.prepare())

            def run(player: str | None, sample: int | None, report: Report) -> Findings:
                command.report = report
                only = None if player is None else [player]
                if sample is not None:
                    only = session.run(command.choose(sample))
                return session.run(command.run(preview, only, explain=player is not None))

            yield Verifier(preview, run, sums, lambda: command.lines)
    finally:
        sums.close()


def _source(session: Session, settings: Settings) -> str:
    """The source table: the configured one, else the one that the lease table counts."""
    if settings.source_table is not None:
        return settings.source_table
    if settings.stream_arn is not None:
        return table_of(settings.stream_arn)
    counted = {table_of(start.stream_arn) for start in session.ledger().stream_starts}
    if not counted:
        raise UnsafeRefused(
            f"lease table {session.names.leases} knows no stream: no worker has run with it, so there is nothing to "
            "verify. Is CONSUMER_LEASE_TABLE right?"
        )
    return min(counted)
