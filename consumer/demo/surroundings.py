"""The environment of a demonstration: this machine's own AWS account, settings and proxies are out of reach."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from consumer.settings import DEMO_PREFIX

REGION: Final = "eu-west-1"
_FOREIGN: Final = ("AWS_", "CONSUMER_")


def variables(engine_url: str) -> dict[str, str]:
    """What points the AWS SDK at the engine and at nothing else, whatever its configuration files say."""
    return {
        "AWS_ENDPOINT_URL_DYNAMODB": engine_url,
        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": engine_url,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


@contextmanager
def pointed_at(engine_url: str) -> Iterator[None]:
    """This process, and those that it starts, see the engine as their AWS and no settings but the defaults."""
    before = dict(os.environ)
    _become({name: value for name, value in before.items() if not _is_foreign(name)} | variables(engine_url))
    try:
        yield
    finally:
        _become(before)


def _is_foreign(name: str) -> bool:
    return name.upper().startswith(_FOREIGN) and not name.startswith(DEMO_PREFIX)


def _become(environment: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in environment]:
        del os.environ[name]
    os.environ.update(environment)
