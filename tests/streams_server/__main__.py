"""`python -m tests.streams_server --engine URL`: serves until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal

from tests.streams_server.server import Listener
from tests.streams_server.service import Service


async def serve(engine_url: str, port: int, seed: int) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Listener(Service(engine_url, seed), port) as listener:
        print(listener.url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.streams_server", description="DynamoDB Streams in front of an engine")
    parser.add_argument("--engine", required=True, help="URL of ministack or DynamoDB Local")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) picks a free one")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.engine, arguments.port, arguments.seed))
