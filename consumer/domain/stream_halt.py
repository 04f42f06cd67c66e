"""Why a stream halts: nothing of it is read until an operator acts. Workers and `status` say the same sentences."""

from enum import StrEnum
from typing import Final, NamedTuple

from consumer.domain.errors import StartRefused
from consumer.domain.records import Corrections

BOTH_IMAGES: Final = "NEW_AND_OLD_IMAGES"
READABLE_VIEWS: Final = {Corrections.IGNORE: ("NEW_IMAGE", BOTH_IMAGES), Corrections.APPLY: (BOTH_IMAGES,)}
"""View types with the images that are needed."""


class StreamHaltReason(StrEnum):
    """A metric label: few values, and they never change."""

    OFF = "off"
    """The stream to read is off and read to its end, so games that are written now are in no stream that is read."""
    VIEW_TYPE = "view_type"
    """The stream lacks images, so its records cannot be counted."""


class StreamHalt(NamedTuple):
    """A stream that halts, with a sentence for the operator."""

    reason: StreamHaltReason
    detail: str


class StreamUnusable(StartRefused):
    """The stream to read is off, gone, or lacks images. `stream_arn` None: there is none.

    `named_wrong`: nothing of the configured name exists.
    """

    def __init__(
        self, reason: StreamHaltReason, stream_arn: str | None, detail: str, *, named_wrong: bool = False
    ) -> None:
        super().__init__(detail)
        self.halt = StreamHalt(reason, detail)
        self.stream_arn = stream_arn
        self.named_wrong = named_wrong


def missing_images(
    view: str | None, corrections: Corrections, stream_arn: str, name: str | None = None
) -> StreamUnusable | None:
    """What to raise for a view type that is not in READABLE_VIEWS. `name`: what the operator calls the stream.

    `view` None: the engine does not say it.
    """
    if view in (None, *READABLE_VIEWS[corrections]):
        return None
    detail = (
        f"the stream of {name or stream_arn} has the view type {view}, which does not carry new images; NEW_IMAGE "
        "or NEW_AND_OLD_IMAGES is needed. A view type cannot be changed: switch the stream off and on again with "
        "it."
    )
    if corrections is Corrections.APPLY:
        detail = (
            f"the stream of {name or stream_arn} has the view type {view}, which does not carry old and new images; "
            f"CONSUMER_CORRECTIONS=apply needs {BOTH_IMAGES}. Is `apply` meant? A board that was begun without it "
            "stays so. A view type cannot be changed: switch the stream off and on again with the right one. That is "
            "another stream, and what is written in between is in neither."
        )
    return StreamUnusable(StreamHaltReason.VIEW_TYPE, stream_arn, detail)


def off(detail: str) -> StreamHalt:
    """The halt of a table whose stream is off; `detail` says so."""
    return StreamHalt(
        StreamHaltReason.OFF,
        f"{detail}, and all that it had is read: games that are written now are in no stream. Switch the stream on "
        f"with the view type NEW_IMAGE ({BOTH_IMAGES} where corrections are applied): workers find it by "
        "CONSUMER_SOURCE_TABLE.",
    )


def gone(detail: str) -> StreamHalt:
    """The halt of a source that does not exist any more; `detail` says so."""
    return StreamHalt(
        StreamHaltReason.OFF,
        f"{detail}: games that are written now are in no stream, and what was not read yet is kept for 24 hours at "
        "most. Is CONSUMER_SOURCE_TABLE (or CONSUMER_STREAM_ARN) right, and the region?",
    )


def off_for_good(stream_arn: str, successor: str | None) -> StreamHalt:
    """The halt of a stream that was switched off; `successor` is the table's stream now, None: there is none known."""
    if successor is None:
        return off(f"stream {stream_arn} is off")
    return StreamHalt(
        StreamHaltReason.OFF,
        f"stream {stream_arn} is off, and all that it had is read. The table has a newer stream: set "
        f"CONSUMER_STREAM_ARN to {successor}, or CONSUMER_SOURCE_TABLE in its place, and start the workers again.",
    )
