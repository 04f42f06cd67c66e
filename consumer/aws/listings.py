"""DescribeStream: a stream's listings, page by page, slowly."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from math import inf
from typing import Any, Final

from consumer.aws.errors import may_pass, translated
from consumer.aws.pace import Pace
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import ListedShard, StreamListing

MAX_PAGES: Final = 1000
"""A listing has at most 100 shards a page; past this many pages it is not believed."""
DESCRIBES_PER_SECOND: Final = 8
"""DynamoDB takes 10 DescribeStream calls a second. Source: API reference of DescribeStream."""
DESCRIBES_AT_ONCE: Final = 2
RESUMED_SECONDS: Final = 60.0
"""A listing that met trouble which may pass goes on where it was, if it began so short a time ago: of many pages some
call always fails."""


@dataclass(slots=True)
class _Begun:
    """A listing up to the page that begins behind the shard `last`."""

    at: float
    enabled: bool = True
    served_at: float = 0.0
    pages: int = 0
    shards: list[ListedShard] = field(default_factory=list)
    last: str | None = None


class Listings:
    """Over a boto3 client. `clock` is monotonic."""

    def __init__(self, client: Any, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._pace = pace
        self._clock = clock
        self._shared: dict[str, tuple[float, StreamListing]] = {}
        self._broken: dict[str, _Begun] = {}

    @translated()
    def describe(self, stream_arn: str, **more: Any) -> tuple[Mapping[str, Any], float]:
        """One answer, and its Date in unix seconds. Raises Trouble."""
        self._pace.wait()
        answer = self._client.describe_stream(StreamArn=stream_arn, **more)
        return answer["StreamDescription"], date_of(answer)

    def listing(self, stream_arn: str) -> StreamListing:
        """All shards over all pages. Raises Trouble; asked again soon it goes on from there."""
        begun = self._broken.pop(stream_arn, None)
        if begun is None or self._clock() - begun.at > RESUMED_SECONDS:
            begun = _Begun(self._clock())
        try:
            while self._read(stream_arn, begun):
                pass
        except Trouble as trouble:
            if may_pass(trouble):
                self._broken[stream_arn] = begun
            raise
        return StreamListing(stream_arn, begun.enabled, tuple(begun.shards), begun.served_at)

    def shared(self, stream_arn: str, seconds: float) -> StreamListing:
        """For all shards that ask within so many seconds: a thousand of them would ask for as many."""
        listed_at, listing = self._shared.get(stream_arn, (-inf, None))
        if listing is None or self._clock() - listed_at > seconds:
            listing = self.listing(stream_arn)
            self._shared[stream_arn] = (self._clock(), listing)
        return listing

    def _read(self, stream_arn: str, begun: _Begun) -> bool:
        """The next page; whether there are more."""
        if begun.pages == MAX_PAGES:
            raise Trouble(TroubleKind.MALFORMED, f"DescribeStream has more than {MAX_PAGES} pages")
        start = {} if begun.last is None else {"ExclusiveStartShardId": begun.last}
        description, date = self.describe(stream_arn, **start)
        if begun.pages == 0:
            begun.enabled, begun.served_at = is_enabled(description), date
        begun.pages += 1
        begun.shards += listed(description)
        begun.last = description.get("LastEvaluatedShardId") or None
        return begun.last is not None


def is_enabled(description: Mapping[str, Any]) -> bool:
    """Whether records are still written to the stream."""
    return description.get("StreamStatus") in ("ENABLED", "ENABLING")


def listed(description: Mapping[str, Any]) -> list[ListedShard]:
    """The shards of one answer."""
    return [ListedShard(shard["ShardId"], shard.get("ParentShardId")) for shard in description.get("Shards", ())]


def date_of(answer: Mapping[str, Any]) -> float:
    """The server's Date in unix seconds."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
    except (LookupError, ValueError, TypeError):
        raise Trouble(TroubleKind.MALFORMED, "the answer has no Date header") from None
