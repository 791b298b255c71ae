"""What a scripted upstream can say: good answers, and faults that make them worse.

An answer is a value; a fault is a function from an answer to a worse one, so that faults combine:
`split(cut(stream(), after=2), size=1)`. The server that says them is in tests/support/faulty.py.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from enum import Enum

import msgspec
from msgspec.structs import replace

JSON_TYPE = (("content-type", "application/json"),)
EVENT_TYPE = (("content-type", "text/event-stream"),)


class Act(Enum):
    """What a provider may do instead of sending bytes."""

    HANG = "say nothing more, and keep the connection open until the client closes it"
    CLOSE = "close the connection here"
    RESET = "reset the connection here (RST)"


class Framing(Enum):
    """How the end of a body is told."""

    LENGTH = "content-length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "close"


Step = bytes | float | Act  # Send these bytes, wait so many seconds, act.


class Answer(msgspec.Struct, frozen=True):
    """One reply: bytes of `body` are its pieces (the events of a stream), anything else happens between them."""

    body: tuple[Step, ...] = ()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = JSON_TYPE
    framing: Framing = Framing.LENGTH
    before: tuple[Step, ...] = ()  # Before the head, as it stands.
    behind: tuple[Step, ...] = ()  # Behind the end, as it stands.
    trailers: tuple[tuple[str, str], ...] = ()
    chunk_size: int | None = None  # Chunks of so many bytes, across pieces; else a chunk a piece.
    split: int | None = None  # Every write in parts of so many bytes.
    pace_s: float = 0.0  # Before each piece of the body.


# Good answers.


def chat(
    text: str = "Hello from the provider.", usage: tuple[int, int] = (11, 5), finish: str = "stop"
) -> Answer:
    """A plain OpenAI chat completion."""
    message = {"role": "assistant", "content": text}
    body = {
        "id": "chatcmpl-upstream1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "upstream-model",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": _usage(usage),
    }
    return Answer((msgspec.json.encode(body),))


def stream(
    words: Sequence[str] = ("Hello", " from", " the", " provider."),
    usage: tuple[int, int] | None = (11, 5),
    finish: str | None = "stop",
    *,
    done: bool = True,
) -> Answer:
    """An OpenAI chat completion as server-sent events: role, a delta a word, finish, usage, [DONE]."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words]
    if finish is not None:
        deltas.append(({}, finish))
    events = [_chunk([{"index": 0, "delta": delta, "finish_reason": reason}]) for delta, reason in deltas]
    if usage is not None:
        events.append(_chunk([], usage))
    if done:
        events.append(b"data: [DONE]\n\n")
    return Answer(tuple(events), headers=EVENT_TYPE, framing=Framing.CHUNKED)


def json_answer(body: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Any JSON with any status."""
    return Answer((msgspec.json.encode(body),), status, JSON_TYPE + headers)


def error(
    status: int, message: str = "The provider says no.", headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """An OpenAI error reply."""
    return json_answer(
        {"error": {"message": message, "type": "upstream_type", "param": None, "code": "upstream_code"}},
        status,
        headers,
    )


# Faults.


def cut(answer: Answer, after: int) -> Answer:
    """The connection ends after so many pieces of the body."""
    return replace(answer, body=(*answer.body[:after], Act.CLOSE))


def reset(answer: Answer, after: int) -> Answer:
    """The connection is reset after so many pieces of the body."""
    return replace(answer, body=(*answer.body[:after], Act.RESET))


def stall(answer: Answer, after: int) -> Answer:
    """Nothing more comes after so many pieces of the body."""
    return replace(answer, body=(*answer.body[:after], Act.HANG))


def slow(answer: Answer, seconds: float) -> Answer:
    """A wait before each piece of the body."""
    return replace(answer, pace_s=seconds)


def late(answer: Answer, seconds: float) -> Answer:
    """A wait before the head."""
    return replace(answer, before=(seconds, *answer.before))


def error_event(answer: Answer, after: int, message: str = "The provider broke.") -> Answer:
    """After so many events the provider reports an error in the stream, and ends it in good form."""
    event = (
        b"data: "
        + msgspec.json.encode({"error": {"message": message, "type": "server_error", "code": 500}})
        + b"\n\n"
    )
    return replace(answer, body=(*answer.body[:after], event))


def split(answer: Answer, size: int) -> Answer:
    """Every byte as before, `size` at a time."""
    return replace(answer, split=size)


def odd_chunks(answer: Answer, size: int) -> Answer:
    """Chunks of `size` bytes that take no notice of the pieces."""
    return replace(answer, framing=Framing.CHUNKED, chunk_size=size)


def interim(answer: Answer, count: int = 1) -> Answer:
    """1xx heads first."""
    head = b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"
    return replace(answer, before=(*answer.before, *([head] * count)))


def trailed(
    answer: Answer, trailers: tuple[tuple[str, str], ...] = (("x-checksum", "1"), ("x-late", "2"))
) -> Answer:
    """Trailers behind the last chunk."""
    return replace(answer, framing=Framing.CHUNKED, trailers=trailers)


def gzipped(answer: Answer) -> Answer:
    """The body compressed as a whole."""
    packed = gzip.compress(_bytes_of(answer.body), mtime=0)
    return replace(answer, body=(packed,), headers=(*answer.headers, ("content-encoding", "gzip")))


def until_close(answer: Answer) -> Answer:
    """No length: the end of the connection is the end of the body."""
    return replace(answer, framing=Framing.UNTIL_CLOSE)


def closing(answer: Answer) -> Answer:
    """The connection is closed behind the reply, which says so."""
    return replace(
        answer, headers=(*answer.headers, ("connection", "close")), behind=(*answer.behind, Act.CLOSE)
    )


def closing_unsaid(answer: Answer, after_s: float = 0.0) -> Answer:
    """The connection is closed behind the reply without notice."""
    return replace(answer, behind=(*answer.behind, after_s, Act.CLOSE))


def flaky(times: int, fault: Answer, then: Answer) -> tuple[Answer, ...]:
    """The same fault so many times, then an answer."""
    return (*([fault] * times), then)


def hang() -> Answer:
    """No head ever comes."""
    return Answer(before=(Act.HANG,))


def refuse_connection(*, by_reset: bool = False) -> Answer:
    """The connection ends where the head should be."""
    return Answer(before=(Act.RESET if by_reset else Act.CLOSE,))


def garbage(data: bytes = b"\x16\x03\x01 this is not HTTP \x00\xff\r\n\r\n") -> Answer:
    """Bytes that are not HTTP."""
    return Answer(before=(data, Act.HANG))


def truncated(answer: Answer, missing: int = 1) -> Answer:
    """A content-length of `missing` bytes more than come."""
    body = _bytes_of(answer.body)
    length = ("content-length", str(len(body)))
    return Answer(
        (body[: len(body) - missing], Act.CLOSE),
        answer.status,
        (*answer.headers, length),
        Framing.UNTIL_CLOSE,
    )


def html_502() -> Answer:
    """What a load balancer says when the provider behind it is gone."""
    page = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n"
    return Answer((page,), 502, (("content-type", "text/html"),))


def huge_header(size: int) -> Answer:
    """A head with one header of so many bytes."""
    return replace(chat(), headers=(*JSON_TYPE, ("x-huge", "h" * size)))


def huge_line(size: int) -> Answer:
    """A stream with one event of so many bytes on one line."""
    return replace(stream(), body=(b'data: {"filler": "' + b"l" * size + b'"}\n\n', *stream().body))


def huge_body(pieces: int, piece: bytes = b"b" * 65_536) -> Answer:
    """A body of so many equal pieces, chunked; as long as anyone likes, and never in memory as a whole."""
    return Answer(
        (piece,) * pieces, headers=(("content-type", "application/octet-stream"),), framing=Framing.CHUNKED
    )


def gzip_bomb(plain_megabytes: int) -> Answer:
    """A small body that inflates to so many megabytes of zeros."""
    packed = gzip.compress(bytes(plain_megabytes << 20), mtime=0)
    return Answer((packed,), headers=(*JSON_TYPE, ("content-encoding", "gzip")))


def write_steps(answer: Answer) -> Iterator[Step]:
    """An answer as bytes on the wire and what happens between them."""
    yield from answer.before
    headers = list(answer.headers)
    match answer.framing:
        case Framing.LENGTH:
            headers.append(("content-length", str(len(_bytes_of(answer.body)))))
        case Framing.CHUNKED:
            headers.append(("transfer-encoding", "chunked"))
        case Framing.UNTIL_CLOSE:
            pass
    lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{name}: {value}" for name, value in headers), "", ""]
    yield "\r\n".join(lines).encode("latin-1")
    pieces: tuple[Step, ...] = answer.body
    if answer.chunk_size is not None:
        pieces = tuple(parts_of(_bytes_of(answer.body), answer.chunk_size))
    chunked = answer.framing is Framing.CHUNKED
    for piece in pieces:
        if answer.pace_s:
            yield answer.pace_s
        yield b"%x\r\n%b\r\n" % (len(piece), piece) if chunked and isinstance(piece, bytes) else piece
    if chunked:
        trailers = "".join(f"{name}: {value}\r\n" for name, value in answer.trailers)
        yield b"0\r\n%b\r\n" % trailers.encode("latin-1")
    yield from answer.behind
    if answer.framing is Framing.UNTIL_CLOSE:
        yield Act.CLOSE


def _bytes_of(body: tuple[Step, ...]) -> bytes:
    return b"".join(piece for piece in body if isinstance(piece, bytes))


def parts_of(data: bytes, size: int | None) -> list[bytes]:
    return [data] if size is None else [data[i : i + size] for i in range(0, len(data), size)]


def _usage(tokens: tuple[int, int]) -> dict[str, int]:
    prompt, completion = tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _chunk(choices: list[dict[str, object]], usage: tuple[int, int] | None = None) -> bytes:
    body: dict[str, object] = {
        "id": "chatcmpl-upstream1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "upstream-model",
        "choices": choices,
    }
    if usage is not None:
        body["usage"] = _usage(usage)
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
