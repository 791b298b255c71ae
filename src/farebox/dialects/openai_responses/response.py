"""The response object: what stands around a reply, in whole and in every event that carries it.

It repeats what the caller asked for, with OpenAI's defaults for what it left open, in a form that validates: OpenAI's
document wants a tool to say its parameters and whether they are strict. (OpenAI OpenAPI, Response.)
"""

from __future__ import annotations

import msgspec

from farebox.core.errors import Fault
from farebox.dialects.conversation import Reason
from farebox.dialects.dialect import Head, Names

IN_PROGRESS, COMPLETED, INCOMPLETE, FAILED = "in_progress", "completed", "incomplete", "failed"
_DETAILS: dict[Reason, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "refusal": "content_filter",  # One without words of the model's own.
}
# What OpenAI's list of codes has for a fault's type; whatever else is a fault of the server.
_CODES = {"rate_limit_error": "rate_limit_exceeded", "invalid_request_error": "invalid_prompt"}
_NULL = b"null"
_DEFAULTS: dict[str, msgspec.Raw] = {
    name: msgspec.Raw(raw)
    for name, raw in {
        "instructions": b"null",
        "max_output_tokens": b"null",
        "max_tool_calls": b"null",
        "metadata": b"{}",
        "parallel_tool_calls": b"true",
        "previous_response_id": b"null",
        "reasoning": b'{"effort":null,"summary":null}',
        "service_tier": b'"default"',
        "store": b"true",
        "temperature": b"1.0",
        "text": b'{"format":{"type":"text"}}',
        "tool_choice": b'"auto"',
        "tools": b"[]",
        "top_logprobs": b"0",
        "top_p": b"1.0",
        "truncation": b'"disabled"',
    }.items()
}
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_lists = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_encode = msgspec.json.encode
_FUNCTION = b'"function"'
_TOOL_NEEDS = {"parameters": msgspec.Raw(_NULL), "strict": msgspec.Raw(_NULL)}
_TEXT_NEEDS = {"format": msgspec.Raw(b'{"type":"text"}')}


def read_echo(head: Head) -> dict[str, msgspec.Raw]:
    """What the caller asked for, by member."""
    return _members.decode(b"{%b}" % head.echo) if head.echo else {}


class Outline:
    """One reply's response object, filled in as the reply goes on."""

    def __init__(self, head: Head, names: Names) -> None:
        self._head = head
        self._names = names
        self._around: tuple[bytes, bytes] | None = (
            None  # What stands before the state, and behind the output.
        )

    def write(self, status: str, output: list[bytes], *, ending: bytes = b"", usage: bytes = b"") -> bytes:
        """The object in one of its states; `ending` says why it is no whole answer, from `failed` or `cut_short`."""
        if self._around is None:
            self._around = self._write_around()
        before, behind = self._around
        usage = b',"usage":' + usage if usage else b""
        ending = ending or _NO_ENDING
        return b'%b"%b",%b,"output":[%b],%b%b}' % (
            before,
            status.encode(),
            ending,
            b",".join(output),
            behind,
            usage,
        )

    def _write_around(self) -> tuple[bytes, bytes]:
        names = self._names
        before = b'{"id":%b,"object":"response","created_at":%d,"model":%b,"background":false,"status":' % (
            _encode(names.id),
            names.created_s,
            _encode(names.model),
        )
        echo = read_echo(self._head)
        if "tools" in echo:
            echo["tools"] = _whole_tools(echo["tools"])
        if "text" in echo:
            echo["text"] = msgspec.Raw(_encode(_TEXT_NEEDS | _members.decode(echo["text"])))
        behind = _encode(_DEFAULTS | echo)[1:-1]
        # What is repeated as written may hold line ends, and one would end an event's data.
        if b"\n" in behind or b"\r" in behind:
            behind = msgspec.json.format(b"{%b}" % behind, indent=-1)[1:-1]
        return before, behind


_NO_ENDING = b'"error":null,"incomplete_details":null'


def cut_short(reason: Reason) -> bytes:
    """Why an answer is incomplete; empty if it is not. A refusal without words is what a filter does."""
    detail = _DETAILS.get(reason)
    return b'"error":null,"incomplete_details":{"reason":"%b"}' % detail.encode() if detail else b""


def failed(fault: Fault) -> bytes:
    """Why an answer failed."""
    code = _CODES.get(fault.kind.row.type, "server_error")
    return b'"error":{"code":"%b","message":%b},"incomplete_details":null' % (
        code.encode(),
        _encode(fault.message),
    )


def write_failure(fault: Fault, outline: Outline, sequence: int, output: list[bytes]) -> bytes:
    """What ends a stream that fails: the error by itself, then the response that failed."""
    return (
        b'event: error\ndata: {"type":"error","code":%b,"message":%b,"param":%b,"sequence_number":%d}\n\n'
        b'event: response.failed\ndata: {"type":"response.failed","response":%b,"sequence_number":%d}\n\n'
    ) % (
        _encode(fault.code),
        _encode(fault.message),
        _encode(fault.param),
        sequence,
        outline.write(FAILED, output, ending=failed(fault)),
        sequence + 1,
    )


def _whole_tools(raw: msgspec.Raw) -> msgspec.Raw:
    if raw == _EMPTY:
        return raw
    tools = [
        tool | {name: none for name, none in _TOOL_NEEDS.items() if name not in tool}
        if bytes(tool.get("type", b"")) == _FUNCTION
        else tool
        for tool in _lists.decode(raw)
    ]
    return msgspec.Raw(_encode(tools))


_EMPTY = msgspec.Raw(b"[]")
