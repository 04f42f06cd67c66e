"""The entry point: `consumer`, or `python -m consumer`."""

import sys
from contextlib import suppress
from typing import NoReturn


def main() -> NoReturn:
    """Runs one command and ends the process with its exit code."""
    if sys.argv[1:] == ["healthcheck"]:  # every few seconds, in each container: without the command line's library
        from consumer.cli.healthcheck import healthcheck
        from consumer.domain.errors import UsageFault

        with suppress(UsageFault):  # the command below says what is wrong
            sys.exit(healthcheck())
    from consumer.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
