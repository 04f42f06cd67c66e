"""`consumer run`: the worker."""

from consumer.cli.flags import with_settings
from consumer.settings import Settings


@with_settings(needs={"stream"})
def run(settings: Settings) -> int:
    """Keeps the leaderboard up to date from the table's stream, until SIGTERM.

    Needs the tables that `consumer init` makes. Every setting is a flag or an environment variable, named below with
    its default; the flag wins. One of --source-table and --stream-arn must be set. Region, credentials and endpoints
    are the AWS SDK's own (AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB, ...).

    \b
    Example:
      consumer run --source-table GameEvents --start-position LATEST

    \b
    Exit codes:
      0  stopped as asked               4  refused: going on could count twice
      1  unexpected                     6  a side loop died or a step is overdue
      2  wrong flags or settings        7  second signal
      3  AWS refuses or is not there
    """
    from consumer.bootstrap.worker import run as run_worker

    return run_worker(settings)
