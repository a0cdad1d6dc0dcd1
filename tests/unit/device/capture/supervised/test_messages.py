"""Records between processes: whatever goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import select

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.capture.supervised.messages import (
    MESSAGE_BYTES,
    REQUEST_BYTES,
    TEXT_BYTES,
    CaptureMessage,
    CaptureProblem,
    CaptureRequest,
    CaptureTask,
    MessageKind,
    RequestKind,
    problem_from,
)
from edgepose.errors import ConfigError, DeviceError, EdgeposeError, MissingDependencyError

_U32 = st.integers(0, 2**32 - 1)
_MESSAGES = st.builds(
    CaptureMessage,
    st.sampled_from(MessageKind),
    _U32,
    _U32,
    _U32,
    _U32,
    _U32,
    st.integers(0, 2**64 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=TEXT_BYTES),
)


@given(_MESSAGES)
def test_a_message_comes_out_as_it_went_in(message: CaptureMessage) -> None:
    packed = message.packed()
    assert len(packed) == MESSAGE_BYTES
    assert CaptureMessage.unpacked(packed) == message


@given(st.builds(CaptureRequest, st.sampled_from(RequestKind), _U32, _U32))
def test_a_request_comes_out_as_it_went_in(request: CaptureRequest) -> None:
    assert CaptureRequest.unpacked(request.packed()) == request


def test_records_are_written_whole_or_not_at_all() -> None:
    # pipe(7): what is no longer than PIPE_BUF never mixes with another's and is never cut.
    assert MESSAGE_BYTES <= select.PIPE_BUF
    assert REQUEST_BYTES <= select.PIPE_BUF


@pytest.mark.parametrize("length", [0, 1, MESSAGE_BYTES - 1, MESSAGE_BYTES + 1])
def test_bytes_of_another_length_are_no_message(length: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        CaptureMessage.unpacked(bytes(length))


@given(st.binary(min_size=MESSAGE_BYTES, max_size=MESSAGE_BYTES))
def test_any_bytes_are_a_message_or_refused_and_never_read_beyond_their_end(data: bytes) -> None:
    try:
        message = CaptureMessage.unpacked(data)
    except ValueError:
        return
    assert len(message.text) <= TEXT_BYTES


def test_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes of text"):
        CaptureMessage(MessageKind.EVENT, 1, text=bytes(TEXT_BYTES + 1)).packed()


@pytest.mark.parametrize("family", [ConfigError, DeviceError, MissingDependencyError])
def test_an_error_keeps_its_family_over_the_pipe(family: type[EdgeposeError]) -> None:
    error = problem_from(CaptureProblem.of(family("What was found.", "What to do.")).packed()).error()
    assert type(error) is family
    assert (error.message, error.hint) == ("What was found.", "What to do.")


@given(st.text(), st.text())
def test_every_error_fits_a_message(message: str, hint: str) -> None:
    packed = CaptureProblem.of(DeviceError(message, hint)).packed()
    assert len(packed) <= TEXT_BYTES
    assert problem_from(packed).message == message[: len(problem_from(packed).message)]


def test_an_unknown_limit_is_refused_and_patience_never_gives_up() -> None:
    address = SourceAddress("rtsp", "rtsp://h/s")
    task = CaptureTask(
        kind=address.kind, location=address.reveal(), messages=3, requests=4, memories=(5, 6), patient=True
    )
    assert task.address == address
    assert task.limits().give_up_s is None
    with pytest.raises(ConfigError, match="knows no limit 'silense_s'"):
        CaptureTask(
            kind="rtsp",
            location="",
            messages=3,
            requests=4,
            memories=(5, 6),
            limits_s=(("silense_s", 1.0),),
        ).limits()
