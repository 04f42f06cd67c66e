"""`consumer healthcheck`: for container health checks. Without flags the shortcut answers in its place."""

from consumer.cli.flags import with_settings
from consumer.cli.shortcut import tell_health
from consumer.settings import Settings


@with_settings("http_host", "http_port")
def healthcheck(settings: Settings) -> int:
    """Asks the worker in this container whether it is alive: 0 when it is, 1 when not.

    It asks /livez where the worker listens by the same settings, for 2 seconds at most. In a task definition:
    ["CMD", "consumer", "healthcheck"]. What readiness is about (lag, leases, trouble with AWS) is not asked: nothing
    of it is cured by a restart.

    \b
    Example:
      consumer healthcheck --http-port 9464
    """
    return tell_health(settings.http_host, settings.http_port)
