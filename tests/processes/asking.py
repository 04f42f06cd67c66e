"""A plain GET, as a scraper's or a health check's."""

from http.client import HTTPConnection


def ask(address: str, path: str, seconds: float = 5) -> tuple[int, str]:
    """Status and text of the answer that a server at `address` (host:port) gives within so long."""
    connection = HTTPConnection(address, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
