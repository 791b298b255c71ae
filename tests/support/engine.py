"""A real engine for tests: llama.cpp's own HTTP server, serving the tiny model from a process of its own.

    with started_engine(folder) as engine:
        ...  # engine.base_url is "http://127.0.0.1:PORT/v1"; OpenAI chat, streams, tools, embeddings

It is foreign code that speaks the wire language it believes in, so it finds what a stand-in of ours would agree with.
The process says on its standard output where it listens, and ends when its standard input does: a test run that is
killed leaves no engine behind. An engine that does not start is an error with its log, never a skipped test.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

READY_S_MAX = 60.0  # It takes a fraction of a second; a machine that is busy with other tests takes longer.
END_S_MAX = 10.0
SLOTS = 4  # Calls at once; further ones wait.
CONTEXT_TOKENS = 4096  # For each slot.
MODEL = "tiny-random"


class Engine(NamedTuple):
    """A running engine."""

    base_url: str  # Ends in /v1, as a provider's base URL does.
    host: str
    port: int
    pid: int
    model: str = MODEL


@contextmanager
def started_engine(folder: Path) -> Iterator[Engine]:
    """Start an engine with its model and log in `folder`; ended by its pid when the block ends."""
    log = folder / "engine.log"
    command = [sys.executable, __file__, str(folder / "tiny.gguf")]
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            url = _first_line(process.stdout)
            if not url.startswith("http://"):
                raise RuntimeError(
                    f"the engine did not start; it said {url!r}, and:\n{log.read_text(errors='replace')}"
                )
            host, _, port = url.removeprefix("http://").partition(":")
            yield Engine(f"{url}/v1", host, int(port), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


def _first_line(output: IO[str]) -> str:
    readable, _, _ = select.select([output], [], [], READY_S_MAX)
    return output.readline().strip() if readable else f"nothing for {READY_S_MAX:.0f} s"


def serve(model: Path) -> None:
    """Write the model, serve it on a free port, say where, and stay until the other end of standard input is gone."""
    import xllamacpp  # In here, because only the engine's own process may load it: it starts threads.

    from tests.support.tiny_model import write_tiny_model

    write_tiny_model(model)
    settings = xllamacpp.CommonParams()
    settings.model.path = str(model)
    settings.model_alias = {MODEL}
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.n_parallel = SLOTS
    settings.n_ctx = SLOTS * CONTEXT_TOKENS
    settings.cpuparams.n_threads = 1
    settings.warmup = False
    settings.use_jinja = True  # The template decides about tools.
    settings.embedding = True
    settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    settings.verbosity = 1
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # Its threads do not end by themselves.


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    serve(Path(sys.argv[1]))
