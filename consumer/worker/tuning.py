"""How shards are read and committed: intervals, windows, and the memory for reading ahead."""

from dataclasses import dataclass

from consumer.domain.breaker import Breaker
from consumer.domain.lineage import RETENTION_SECONDS


@dataclass(frozen=True, slots=True)
class Tuning:
    """`wall_offset_seconds` added to monotonic time gives unix time, for annotations only.

    A shard reads ahead up to `lookahead_bytes` and `lookahead_records`, all shards together up to
    `total_lookahead_bytes`. A shard is known to be read to its newest record when a record came that was not older than
    `recent_seconds`, or nothing but empty pages for `caught_up_after_seconds`. Then, and after `idle_after_seconds`
    without a record, it is polled only every `idle_poll_interval_seconds`. A shard that was never read and may be older
    than `stale_after_seconds` may have lost records: this is half an hour less than the retention, since clocks differ.
    Between two moves of the checkpoint alone `checkpoint_interval_seconds` pass.
    Of `remembered_rows` of the leaderboard the worker remembers what it knows. `writes_per_call`: single writes.
    """

    poll_interval_seconds: float = 0.2
    idle_poll_interval_seconds: float = 1.0
    idle_after_seconds: float = 30.0
    recent_seconds: float = 90.0
    caught_up_after_seconds: float = 60.0
    batch_window_seconds: float = 0.0
    ignored_window_seconds: float = 5.0
    checkpoint_interval_seconds: float = 1.0
    lookahead_bytes: int = 4_000_000
    lookahead_records: int = 100_000
    total_lookahead_bytes: int = 64_000_000
    remembered_rows: int = 50_000
    writes_per_call: int = 25
    stale_after_seconds: float = RETENTION_SECONDS - 1800
    wall_offset_seconds: float = 0.0
    breaker: Breaker = Breaker()  # noqa: RUF009  it is frozen
