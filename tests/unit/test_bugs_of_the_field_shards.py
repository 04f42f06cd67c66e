"""Bugs that keep coming back in consumers of streams, each as a test over whole workers: parents, children, streams."""

import pytest

from consumer.aws.items import shard_key
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TRIM_HORIZON, Shard
from consumer.domain.lineage import FORGET_SECONDS, GONE_SECONDS
from consumer.domain.replies import Children, RawPage, StreamListing
from tests.support.builders import ARN, ME, OTHER, shard
from tests.support.cluster import LATER, Cluster, single_worker
from tests.support.fakes import FakeStreams

LONG_ENOUGH = GONE_SECONDS + 200.0
"""In this time it is proven that a shard is gone."""


def test_more_than_a_page_of_shards_are_all_read() -> None:
    """Elsewhere: DescribeStream shows 100 shards, and the rest of the pages, or of the rows, is forgotten."""
    cluster = Cluster()
    cluster.open_shards(*range(250))
    worker = cluster.start_worker(ME)
    cluster.serve(10.0)
    assert len(worker.machine.shards) == 250
    for first in range(0, 250, 50):
        cluster.write(*range(first, first + 50))
        cluster.serve()
        assert cluster.exact
        cluster.written = 0
        cluster.tables.board.clear()


def test_children_do_not_wait_for_ever_for_a_parent_that_is_gone() -> None:
    """Elsewhere: a shard that was trimmed before its end keeps its children waiting for good, or is passed silently."""
    cluster, worker = single_worker(0)
    cluster.write(0)
    cluster.serve()
    checkpoint = cluster.row(0).checkpoint
    cluster.write(0)
    cluster.split(0, 1)
    cluster.write(1)
    cluster.streams.shards["shard-0"].gone = True
    cluster.serve(GONE_SECONDS - 100.0, step=1.0)
    assert cluster.counted() == [0], "a few refusals do not prove it"
    cluster.serve(300.0, step=1.0)
    assert cluster.counted() == [0, 2]
    assert list(cluster.tables.gaps) == [(shard(0), checkpoint)]
    assert cluster.row(0).finished
    assert not worker.not_ready


def test_children_do_not_wait_for_ever_for_a_parent_that_was_gone_before_any_worker_knew_it() -> None:
    """Elsewhere: a shard whose parent no listing shows is never read, or at once, before its parent."""
    cluster, worker = single_worker(0)
    cluster.open_shards(1, parent=0)
    cluster.streams.shards["shard-1"].gone = True
    cluster.open_shards(2, parent=1)
    cluster.write(2)
    cluster.serve(GONE_SECONDS - 100.0, step=1.0)
    assert cluster.counted() == []
    cluster.serve(300.0, step=1.0)
    assert cluster.exact
    assert list(cluster.tables.gaps) == [(shard(1), TRIM_HORIZON)]
    assert not worker.not_ready


def test_a_parent_waits_while_all_its_children_are_hidden() -> None:
    """Elsewhere: a shard that has ended and shows no children counts as finished, and they are never read."""
    cluster, _ = single_worker(0)
    cluster.split(0, 1, 2)
    cluster.write(1, 2)
    for child in ("shard-1", "shard-2"):
        cluster.streams.shards[child].hidden = True
    cluster.serve(20.0)
    assert not cluster.row(0).finished
    for child in ("shard-1", "shard-2"):
        cluster.streams.shards[child].hidden = False
    cluster.serve(6.0)
    assert cluster.row(0).children == ("shard-1", "shard-2")
    assert cluster.exact


@pytest.mark.parametrize(("hidden", "within"), [(10.0, 8.0), (70.0, 60.0)], ids=["asked for again", "shard sync"])
def test_a_sibling_found_after_its_parent_ended_is_read(hidden: float, within: float) -> None:
    """Elsewhere: the children of a shard are asked for once, and one that was hidden then is never read."""
    cluster, _ = single_worker(0)
    cluster.split(0, 1, 2)
    cluster.write(1, 2)
    cluster.streams.shards["shard-2"].hidden = True
    cluster.serve(hidden)
    assert cluster.row(0).children == ("shard-1",)
    cluster.streams.shards["shard-2"].hidden = False
    cluster.serve(within)
    assert cluster.row(0).children == ("shard-1", "shard-2")
    assert cluster.exact


class FailingStreams(FakeStreams):
    """Reads of shard 0 fail, and the children of shard 1 can be asked for only once."""

    asked = 0

    def read(self, iterator: str, limit: int) -> RawPage:
        if "|shard-0|" in iterator:
            raise CallFailed(FailureKind.SERVER, "shard 0 fails")
        return super().read(iterator, limit)

    def find_children(self, shard: Shard) -> Children:
        if shard.shard_id == "shard-1":
            self.asked += 1
            if self.asked > 1:
                raise CallFailed(FailureKind.SERVER, "shard 1 fails")
        return super().find_children(shard)


def test_one_failing_shard_stops_neither_the_others_nor_the_discovery_of_new_ones() -> None:
    """Elsewhere: the loop that reads or discovers shards stops at the first one that fails, and none is read."""
    cluster, worker = single_worker(0, 1, 3, streams=FailingStreams)
    cluster.split(1, 2)
    cluster.serve(20.0)
    cluster.split(3, 4, 5)
    cluster.streams.shards["shard-5"].hidden = True
    cluster.write(2, 4, 5)
    cluster.serve(20.0)
    assert cluster.counted() == [0, 1]
    cluster.streams.shards["shard-5"].hidden = False
    cluster.serve(120.0)
    assert cluster.exact
    assert "shard 0 fails" in worker.not_ready


def test_a_checkpoint_does_not_outlive_its_stream() -> None:
    """Elsewhere: the re-created table's shards have the same ids, and are read from the old table's positions."""
    cluster, _ = single_worker(0)
    cluster.write(0, 0)
    cluster.serve()
    cluster.kill(ME)
    cluster.streams.enable(LATER)
    cluster.streams.newest.numbers = iter(range(10**20, 10**21))  # before all of the old stream's
    cluster.open_shards(0)
    cluster.write(0)
    cluster.start_worker(OTHER)
    cluster.serve(10.0)
    assert cluster.exact
    assert cluster.row(0, LATER).checkpoint == str(10**20)
    assert shard_key(Shard(LATER, "shard-0")) != shard_key(shard(0))


def test_a_stream_that_is_enabled_again_is_read_beside_the_old_one() -> None:
    """Elsewhere: the worker stays with the old ARN, or leaves it before its end, and never reports a possible gap."""
    cluster, worker = single_worker(0)
    cluster.write(0)
    cluster.serve()
    cluster.write(0)
    cluster.streams.enable(LATER)
    cluster.open_shards(0, 1)
    cluster.write(0, 1)
    cluster.serve(10.0)
    assert cluster.exact
    assert (LATER, ARN) in cluster.tables.stream_gaps
    assert cluster.row(0).finished
    assert cluster.row(0).children == ()
    assert not cluster.row(0, LATER).finished
    assert not worker.not_ready


def test_a_finished_row_outlives_every_listing_that_shows_its_shard() -> None:
    """Elsewhere: rows of finished shards are cleaned up by age, and a stale listing starts the shard again."""
    cluster, _ = single_worker(0)
    cluster.write(0)
    cluster.serve()
    cluster.split(0, 1)
    cluster.serve(10.0)
    cluster.split(1, 2)
    cluster.serve(10.0)
    cluster.split(2, 3)
    cluster.serve(10.0)
    with_all = cluster.streams.list_shards(ARN)

    def stale(_: str, fresh: StreamListing) -> StreamListing:
        return StreamListing(ARN, fresh.enabled, with_all.shards, fresh.served_at)

    fresh = cluster.streams.listing_of
    cluster.streams.shards["shard-0"].gone = True
    cluster.serve(70.0)
    assert cluster.row(0).unlisted_since is not None
    cluster.server_clock_ahead += FORGET_SECONDS - 1000.0
    cluster.streams.listing_of = stale
    cluster.serve(70.0)
    cluster.server_clock_ahead += 1000.0
    cluster.serve(70.0)
    assert cluster.row(0).finished, "a listing still shows it"
    cluster.streams.listing_of = fresh
    cluster.serve(150.0)
    assert cluster.row(0).finished, "a listing showed it less than 48 hours ago"
    cluster.server_clock_ahead += FORGET_SECONDS
    cluster.serve(150.0)
    assert shard(0) not in cluster.tables.rows
    cluster.streams.shards["shard-1"].gone = True
    cluster.serve(70.0)
    cluster.server_clock_ahead += FORGET_SECONDS
    cluster.serve(150.0)
    assert list(cluster.tables.rows) == [shard(2), shard(3)]

    def older(_: str, fresh: StreamListing) -> StreamListing:
        return StreamListing(ARN, fresh.enabled, (with_all.shards[0], *fresh.shards), fresh.served_at)

    cluster.streams.listing_of = older
    cluster.write(3)
    cluster.serve(300.0)
    assert cluster.exact
    assert list(cluster.tables.rows) == [shard(2), shard(3)], "forgotten rows do not come back"
    assert not cluster.tables.gaps


def test_an_incomplete_listing_that_omits_a_readable_parent_starts_no_child_before_it() -> None:
    """Elsewhere: a parent that a listing does not show counts as trimmed, and its children are read before it."""
    cluster, _ = single_worker(0)

    def incomplete(_: str, listing: StreamListing) -> StreamListing:
        shown = tuple(each for each in listing.shards if each.shard_id != "shard-1")
        return StreamListing(ARN, listing.enabled, shown, listing.served_at)

    cluster.streams.listing_of = incomplete
    cluster.open_shards(1)
    cluster.write(1)
    cluster.split(1, 2)
    cluster.write(2)
    cluster.serve(2 * LONG_ENOUGH, step=1.0)
    assert cluster.counted() == []
    assert not cluster.tables.gaps


def test_a_root_that_was_first_known_as_a_hidden_parent_is_read_when_it_is_shown() -> None:
    """Elsewhere: a shard that was once not found is not tried again, and it and its children are never read."""
    cluster, _ = single_worker(0)
    cluster.open_shards(1)
    cluster.streams.shards["shard-1"].hidden = True
    cluster.write(1)
    cluster.split(1, 2)
    cluster.write(2)
    cluster.serve(100.0)
    cluster.streams.shards["shard-1"].hidden = False
    cluster.serve(200.0)
    assert cluster.exact
    assert not cluster.tables.gaps


def test_a_stream_that_is_gone_before_its_end_was_read_leaves_gap_rows() -> None:
    """Elsewhere: a worker that comes back after a day retries a stream that is gone for ever, and reports no loss."""
    cluster, _ = single_worker(0)
    cluster.write(0)
    cluster.serve()
    checkpoint = cluster.row(0).checkpoint
    cluster.kill(ME)
    cluster.write(0)
    cluster.streams.enable(LATER)
    cluster.open_shards(0)
    cluster.write(0)
    cluster.streams.remove(ARN)
    worker = cluster.start_worker(OTHER)
    cluster.serve(2 * LONG_ENOUGH, step=1.0)
    assert cluster.counted() == [0, 2]
    assert (shard(0), checkpoint) in cluster.tables.gaps
    assert cluster.row(0).finished
    assert not worker.not_ready
