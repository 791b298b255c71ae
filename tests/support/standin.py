"""A local stand-in for a payment processor's API: JSON over HTTP on a free port, answered by a function in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import msgspec

Json = dict[str, object]


class Asked(msgspec.Struct):
    """One request. `query` and `form` are flat: `line_items[0][quantity]`."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    json: Json
    headers: dict[str, str]


Answering = Callable[[Asked], tuple[int, Json]]


@contextmanager
def serving(answer: Answering) -> Iterator[str]:
    """Serve until the block ends; the base address."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 20

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            parts = urlsplit(self.path)
            is_json = "json" in self.headers.get("content-type", "")
            asked = Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query)),
                {} if is_json else dict(parse_qsl(body.decode())),
                msgspec.json.decode(body) if is_json and body else {},
                {name.lower(): value for name, value in self.headers.items()},
            )
            status, told = answer(asked)
            data = msgspec.json.encode(told)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815 -- http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- http.server's name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
