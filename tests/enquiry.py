"""A survey, call by call."""

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import LeaseRow, Pin
from consumer.domain.lineage import FORGET_SECONDS
from consumer.domain.outcomes import Ledger, ListedShard, StreamListing
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.calls import (
    FindStream,
    ListShards,
    Reply,
    SurveyCall,
)
from consumer.worker.pinning import Pinning
from consumer.worker.survey import Surveyor
from tests.builders import ARN, CREATED
from tests.talks import Conversation, Steady

LATER = ARN.replace("2026-01-01", "2026-02-02")
TABLES = ("consumer-leases", "Leaderboards")
MISSING = Trouble(TroubleKind.MISSING, "there is none")
LONG_AGO = CREATED - FORGET_SECONDS
SINCE = CREATED - 100.0


def pin(*roots: int, arn: str = ARN, complete: bool = True) -> Pin:
    return Pin(arn, None, tuple(f"shard-{root}" for root in roots), complete)


def listed(*shards: tuple[int, int | None]) -> StreamListing:
    """Shards with their parents."""
    names = [(f"shard-{each}", None if above is None else f"shard-{above}") for each, above in shards]
    return StreamListing(ARN, True, tuple(ListedShard(*each) for each in names), CREATED)


class Enquiry(Conversation[SurveyCall]):
    """With a surveyor whose ledger has these rows and pins."""

    def __init__(self, *rows: LeaseRow, pins: tuple[Pin, ...] = (pin(0),), workers: int = 1) -> None:
        super().__init__()
        self.ledger = Ledger(rows, pins)
        self.workers = workers
        self.machine = Surveyor(lambda arn: Pinning(arn, TRIM_HORIZON, 1, TABLES), Steady())

    def look(self) -> list[SurveyCall]:
        """The call under way, started if it is due."""
        self.under_way += self.machine.ready(self.now, self.ledger, self.workers)
        assert len(self.under_way) < 2, "one after the other"
        assert self.machine.wake_at() > self.now, "what is due now was not started"
        return self.under_way

    def tell(self, call: SurveyCall, reply: Reply) -> list[events.Event]:
        """A reply arrives."""
        return self.machine.take(call, reply, self.now)

    def survey(self, listing: Reply) -> "Enquiry":
        """The next survey, up to its listing of the one stream."""
        while not self.asks(FindStream):
            self.now = self.machine.wake_at()
        self.answer(FindStream, ARN)
        self.answer(ListShards, listing)
        return self

    def wait(self, seconds: float) -> "Enquiry":
        """Time passes."""
        self.now += seconds
        return self
