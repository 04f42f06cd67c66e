"""What a worker does with a shard now."""

from enum import StrEnum


class State(StrEnum):
    """What an operator is shown of a shard."""

    RUNNING = "running"
    ENDING = "ending"
    DRAINING = "draining"
    HALTED = "halted"
    GONE = "gone"
