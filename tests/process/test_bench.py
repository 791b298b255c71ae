"""The measuring rig measures: it sends exactly what it says, believes no answer unseen, and leaves nothing running."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench import stub as upstream
from bench.load import Report
from bench.meter import read_cpu, read_memory_kib, tree
from bench.parts import Broken, Target, fetch, find_nginx, free_port, started_nginx, started_stub
from bench.table import Books, Measured, Rows, bars, ratio

pytestmark = pytest.mark.process

LOAD = Path(upstream.__file__).with_name("load.py")


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with started_stub(tmp_path_factory.mktemp("stub")) as target:
        yield target


def count(stub: Target) -> upstream.Counters:
    return msgspec.json.decode(fetch(f"{stub.origin}/_stub"), type=upstream.Counters)


def load(base_url: str, *options: str) -> Report:
    command = [sys.executable, str(LOAD), "--url", f"{base_url}/chat/completions", "--limit", "10", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = msgspec.json.decode(done.stdout, type=Report)
    assert done.returncode == (1 if report.failed else 0), done.stderr
    return report


def measured(cpu_s: float, *, p50_ms: float = 1.0) -> Measured:
    return Measured(Report(ok=100, events=10, p50_ms=p50_ms), cpu_s, resident_kib=1, peak_kib=1)


@pytest.mark.parametrize("options", [[], ["--stream"]])
def test_exactly_so_many_requests_are_sent_as_asked_for(stub: Target, options: list[str]) -> None:
    before = count(stub).requests
    report = load(stub.base_url, "-n", "101", "-c", "7", *options)
    assert (report.ok, report.failed, count(stub).requests - before) == (101, 0, 101)
    assert report.p99_ms >= report.p50_ms >= report.first_p50_ms > 0


def test_a_stream_has_its_hundred_content_events_and_usage_only_if_asked_for(stub: Target) -> None:
    async def read(options: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(stub.origin.rpartition(":")[2]))
        body = f'{{"stream": true{options}}}'.encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        answer = await reader.readuntil(b"0\r\n\r\n")
        writer.close()
        return answer

    without = asyncio.run(read(""))
    assert without.count(b'"content":" token"') == upstream.CONTENT_EVENTS
    assert b"prompt_tokens" not in without
    assert b"prompt_tokens" in asyncio.run(read(', "stream_options": {"include_usage": true}'))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}", "status 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "the stream was cut: 0 content events"),
        (upstream.OPENING + upstream.CONTENT * 50 + upstream.ENDING, "the stream was cut: 51 content events"),
        (upstream.OPENING + upstream.CONTENT * 100 + b"0\r\n\r\n", "the stream was cut: 101 content events"),
        (upstream.OPENING + upstream.CONTENT * 100, "closed before the answer was whole"),
        (b"nonsense\r\n\r\n", "not HTTP"),
    ],
    ids=["status", "empty", "too few events", "no end mark", "hung up", "not HTTP"],
)
async def test_a_wrong_answer_is_counted_as_failed_and_named(answer: bytes, told: str) -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}}")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(lie, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        report = await asyncio.to_thread(load, url, "-n", "1", "-c", "1", "--stream")
    assert (report.ok, report.failed) == (0, 1)
    assert told in next(iter(report.why))


def test_a_server_that_is_not_there_fails_every_request() -> None:
    report = load(f"http://127.0.0.1:{free_port()}/v1", "-n", "5", "-c", "2")
    assert (report.ok, report.failed) == (0, 5)


def test_the_meter_sees_the_work_and_the_memory_of_a_process(stub: Target) -> None:
    before = read_cpu(stub.pids)
    load(stub.base_url, "-n", "500", "-c", "4")
    assert 0.0005 < read_cpu(stub.pids).since_s(before) < 5
    assert tree([os.getpid()])[0] == os.getpid()
    assert set(stub.pids) < set(tree([os.getpid()]))
    assert 5_000 < read_memory_kib(stub.pids) <= read_memory_kib(stub.pids, peak=True)
    assert tree(stub.pids) == list(stub.pids)


def test_parts_end_with_their_block(tmp_path: Path) -> None:
    with started_stub(tmp_path) as stub:
        assert count(stub).requests == 0
    with pytest.raises(ProcessLookupError):
        os.kill(stub.pids[0], 0)


def test_a_part_that_does_not_start_says_why(tmp_path: Path, stub: Target) -> None:
    with (
        pytest.raises(Broken, match="cannot be started"),
        started_nginx(str(tmp_path / "nginx"), tmp_path, stub),
    ):
        raise AssertionError("it started")
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho no such module\nexit 3\n")
    failing.chmod(0o755)
    with (
        pytest.raises(Broken, match=r"status 3(.|\n)*no such module"),
        started_nginx(str(failing), tmp_path, stub),
    ):
        raise AssertionError("it started")


def test_the_stub_answers_through_nginx_where_there_is_one(tmp_path: Path, stub: Target) -> None:
    binary = find_nginx()
    if binary is None:
        pytest.skip("there is no nginx here; `make bench` says so too and ends with status 3")
    with started_nginx(binary, tmp_path, stub) as nginx:
        assert load(nginx.base_url, "-n", "20", "-c", "4", "--stream").ok == 20
        assert len(tree(nginx.pids)) == 2  # The master and its one worker.


def test_ratios_pair_the_runs_of_a_round_and_bars_compare_them() -> None:
    rows: Rows = {
        ("plain", "nginx"): [measured(1), measured(10), measured(2)],
        ("plain", "farebox"): [measured(7), measured(70), measured(20)],
        ("one", "direct"): [measured(1, p50_ms=0.1)],
        ("one", "farebox"): [measured(1, p50_ms=0.7)],
        ("plain", "translated"): [measured(7.004), measured(70.1), measured(20.0)],
        ("burst", "farebox"): [measured(1)],
        ("burst", "translated"): [measured(1.0001)],
    }
    assert ratio(rows, "plain", "farebox") == 7
    assert ratio(rows, "stream", "farebox") is None
    farebox = Target("farebox", "http://127.0.0.1:1/v1", ready_s=0.5, idle_kib=61 * 1024)
    assert [(bar.value, bar.met) for bar in bars(rows, farebox, stream_kib=12, ledger_us=41)] == [
        (7, True),  # A plain request.
        (None, True),  # Streams were not measured.
        (pytest.approx(0.6), False),  # Added at one connection.
        (41, False),  # Hold and settle.
        (pytest.approx(40), True),  # Of a request that is translated.
        (pytest.approx(10), False),  # Of an event.
        (0.5, True),
        (61, False),
        (12, True),
    ]


def test_books_are_right_only_if_every_call_was_held_and_posted_once() -> None:
    right = Books(calls=9, holds=9, posts=9, batches=3, operations=18)
    assert right.are_right
    assert not msgspec.structs.replace(right, holds=10).are_right
    assert not msgspec.structs.replace(right, posts=8).are_right
