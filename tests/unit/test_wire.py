"""JSON as it goes over the wire."""

import base64
import json

import pytest

from consumer.aws.wire import decode_json, encode_json


def test_half_a_surrogate_pair_is_written_and_read_as_the_standard_library_does() -> None:
    text = '{"a": ["\\ud800", "\\ud83d\\ude00"]}'
    value = decode_json(text.encode())
    assert value == json.loads(text) == {"a": ["\ud800", "😀"]}
    assert json.loads(encode_json(value)) == value
    assert decode_json('{"a": 1}'.encode("utf-16")) == {"a": 1}


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000])
def test_what_is_no_json_is_an_error(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        decode_json(body)


def test_binary_values_are_base64() -> None:
    assert json.loads(encode_json({"B": b"\x00\xff"})) == {"B": base64.b64encode(b"\x00\xff").decode()}
    with pytest.raises(TypeError):
        encode_json({"N": object()})
