"""The file of variables of a container, as `docker run --env-file`, compose and ECS read it."""

import re

from consumer.settings import OPTIONS, variable
from tests.deploy.checkers import ROOT

FILE = ROOT / "deploy" / "consumer.env"
SET_BY_THE_CONTAINER = {"worker_id", "http_host", "http_port"}
"""Two workers must not share a name; the image listens everywhere, and its health check asks that port."""
HEAD = """\
# Every setting with its default. Remove the # before its variable to change one. This file is for
# `docker run --env-file`, for deploy/compose.yaml, and, under another name in S3, for EnvironmentFile of
# deploy/cloudformation/service.yaml. One NAME=VALUE per line: blanks and quotation marks are part of the value.
# What names a variable elsewhere (`-e`, `environment` in compose.yaml, a parameter of the template) wins over
# this file. Credentials do not belong here.
"""


def parsed(text: str) -> dict[str, str]:
    """The variables of a file: lines that begin with # are comments, a value is all that follows the first `=`."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert [line for line in lines if not re.match(r"[A-Za-z_]\w*=", line)] == []
    return dict(line.split("=", 1) for line in lines)


def every_setting() -> str:
    """What the example in deploy/ must be."""
    said = []
    for name, option in OPTIONS.items():
        if name not in SET_BY_THE_CONTAINER:
            bounds = f" ({option.kind})" if option.kind else ""
            said.append(f"\n# {option.meaning}{bounds}\n#{variable(name)}={option.default_text}\n")
    return HEAD + "".join(said)
