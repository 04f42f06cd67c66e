"""What a run of a client gave: a row of the table."""

from collections.abc import Sequence
from dataclasses import dataclass

WORKER = "worker"
HANDLER = "handler"


@dataclass(frozen=True, slots=True)
class Run:
    """`cpu_seconds` and `resident_mib` are of the client's process alone; `waits` are seconds from put to leaderboard.

    `write_calls` and `write_units` are of what writes the leaderboard; `beats`, the writes of a worker's own life, are
    told a second. `floor_micros` is what `json.loads` takes a record of the same pages; 0: not measured.
    """

    who: str
    engine: str
    records: int
    seconds: float
    cpu_seconds: float
    write_calls: float
    write_units: float
    resident_mib: float
    floor_micros: float = 0.0
    how: str = ""
    waits: Sequence[float] = ()
    beats: float = 0.0

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def cpu_micros(self) -> float:
        """Microseconds of processor time a record."""
        return self.cpu_seconds / self.records * 1e6

    @property
    def floors(self) -> float:
        """Processor time as a multiple of the floor."""
        return self.cpu_micros / self.floor_micros

    @property
    def calls_a_record(self) -> float:
        """Calls that write, a record."""
        return self.write_calls / self.records

    @property
    def units_a_record(self) -> float:
        """Write units a record."""
        return self.write_units / self.records
