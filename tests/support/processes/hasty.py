"""`consumer verify` with less patience: the engines of tests show at once what was written. `hasty.py verify`."""

from consumer.cli.app import main
from consumer.domain import verification
from consumer.wiring import verify as wiring

if __name__ == "__main__":
    verification.SETTLING_SECONDS = 2.0  # type: ignore[misc]
    wiring.LONG_ANSWER_SECONDS = 3.0  # type: ignore[attr-defined]
    main()
