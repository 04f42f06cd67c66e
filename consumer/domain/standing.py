"""How a worker stands, as metrics and readiness show it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """`shards` are counted by state. `not_ready`: why not, a sentence each."""

    lag_seconds: float
    headroom_seconds: float
    shards: Mapping[str, int]
    leases_owned: int
    not_ready: tuple[str, ...]
