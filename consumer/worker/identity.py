"""Who a worker is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker is. `owner` is worker id + "/" + an id fresh at each start.

    `stable`: a person chose the worker id, so leases of the same id are an earlier life's and taken at once.
    """

    owner: str
    stable: bool

    @property
    def worker_id(self) -> str:
        """The part that a person knows."""
        return self.owner.rpartition("/")[0]

    def is_earlier_life(self, owner: str) -> bool:
        """Whether `owner` is this worker's before a restart."""
        return self.stable and owner != self.owner and owner.rpartition("/")[0] == self.worker_id
