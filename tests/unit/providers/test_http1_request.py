"""A request's head is built from nothing, and nothing that goes into it can break out."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from farebox.providers.http1.client import HttpUpstream
from farebox.providers.http1.origin import Origin, split_base
from farebox.providers.http1.proxy import Proxies, Proxy, find_proxy, read_proxies
from farebox.providers.http1.request import make_template, write_head
from farebox.providers.upstream import Endpoint, Outgoing
from tests.support.faulty import serve_faulty
from tests.support.loops import on_both_loops

KEY = "sk-very-secret"
ENDPOINT = Endpoint("p", "https://api.provider.test/v1", KEY)
ASK = Outgoing("/chat/completions", b"{}")
NO_PROXY = Proxies()


def head_of(endpoint: Endpoint, outgoing: Outgoing) -> str:
    return write_head(make_template(endpoint, outgoing, NO_PROXY), outgoing).decode("latin-1")


def test_the_head_of_a_plain_call_is_exactly_this() -> None:
    assert head_of(ENDPOINT, ASK) == (
        "POST /v1/chat/completions HTTP/1.1\r\n"
        "host: api.provider.test\r\n"
        "user-agent: farebox\r\n"
        "accept: */*\r\n"
        "accept-encoding: identity\r\n"
        "authorization: Bearer sk-very-secret\r\n"
        "content-type: application/json\r\n"
        "content-length: 2\r\n"
        "\r\n"
    )


def test_what_an_endpoint_and_a_call_add_is_there_and_the_key_goes_where_it_belongs() -> None:
    endpoint = replace(ENDPOINT, auth_header="X-Api-Key", headers=(("anthropic-version", "2023-06-01"),))
    outgoing = Outgoing(
        "/messages?beta=true", b"abc", stream=True, content_type="multipart/form-data; boundary=x",
        headers=(("anthropic-beta", "b1"),),
    )  # fmt: skip
    head = head_of(endpoint, outgoing)
    assert head.startswith("POST /v1/messages?beta=true HTTP/1.1\r\n")
    lines = head.split("\r\n")
    assert {"x-api-key: sk-very-secret", "anthropic-version: 2023-06-01", "anthropic-beta: b1"} <= set(lines)
    assert {"accept: text/event-stream", "content-type: multipart/form-data; boundary=x"} <= set(lines)
    assert "authorization" not in head


def test_an_empty_get_has_no_body_headers_and_an_empty_post_says_its_length() -> None:
    endpoint = replace(ENDPOINT, api_key=None)
    got = head_of(endpoint, Outgoing("/models", b"", method="GET"))
    assert "content-" not in got
    assert "authorization" not in got
    assert "content-length: 0\r\n\r\n" in head_of(endpoint, Outgoing("/x", b""))


SMUGGLED = ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\x00b", "a\x7fb", "a\u010d\u010ab"]


@pytest.mark.parametrize("text", SMUGGLED)
def test_a_value_that_could_end_its_line_is_refused_without_being_repeated(text: str) -> None:
    attempts = [
        (replace(ENDPOINT, api_key=text), ASK),
        (replace(ENDPOINT, auth_header="x-api-key", api_key=text), ASK),
        (replace(ENDPOINT, headers=(("x-a", text),)), ASK),
        (replace(ENDPOINT, base_url=f"https://provider.test/{text}"), ASK),
        (ENDPOINT, replace(ASK, path=f"/{text}")),
        (ENDPOINT, replace(ASK, headers=(("x-a", text),))),
        (ENDPOINT, replace(ASK, headers=((text, "v"),))),
        (ENDPOINT, replace(ASK, content_type=text)),
        (ENDPOINT, replace(ASK, method=text)),
    ]
    for endpoint, outgoing in attempts:
        with pytest.raises(ValueError) as caught:
            head_of(endpoint, outgoing)
        assert KEY not in str(caught.value)
        assert "evil: 1" not in str(caught.value) or outgoing.headers == ((text, "v"),)


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "connection", "expect", "upgrade", "te", "", "a b", "a:"],
)
def test_headers_that_frame_the_message_cannot_be_set(name: str) -> None:
    for endpoint, outgoing in (
        (replace(ENDPOINT, headers=((name, "1"),)), ASK),
        (ENDPOINT, replace(ASK, headers=((name, "1"),))),
    ):
        with pytest.raises(ValueError):
            head_of(endpoint, outgoing)


@pytest.mark.parametrize("path", ["chat", "", "/a b", "/a#b", "/\u00e9"])
def test_a_path_that_is_no_target_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        make_template(replace(ENDPOINT, base_url="https://provider.test"), replace(ASK, path=path), NO_PROXY)


def test_a_key_is_never_printed() -> None:
    assert KEY not in repr(make_template(ENDPOINT, ASK, NO_PROXY))
    assert "dTpw" not in repr(Proxy("h", 1, "Basic dTpw"))


@pytest.mark.parametrize(
    ("url", "origin", "path", "authority"),
    [
        (
            "https://API.Provider.test/v1/",
            Origin("https", "api.provider.test", 443),
            "/v1",
            "api.provider.test",
        ),
        ("http://127.0.0.1:11434", Origin("http", "127.0.0.1", 11434), "", "127.0.0.1:11434"),
        ("http://[::1]:8080/v1", Origin("http", "::1", 8080), "/v1", "[::1]:8080"),
        ("https://h.test:443/a/b", Origin("https", "h.test", 443), "/a/b", "h.test"),
        ("http://h.test:443", Origin("http", "h.test", 443), "", "h.test:443"),
    ],
)
def test_a_base_url_is_split(url: str, origin: Origin, path: str, authority: str) -> None:
    assert split_base(url) == (origin, path)
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url",
    ["ftp://h.test", "h.test/v1", "https://", "https://u:p@h.test", "https://h.test/?a=1", "https://h.test/#x",
     "https://h..test",
     "https://h.test:99999", "https://h.test:port", "https://h\u00e9.test"],
)  # fmt: skip
def test_a_base_url_that_leads_nowhere_safe_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        split_base(url)


def test_proxies_are_read_from_the_environment_the_lower_case_names_first() -> None:
    proxies = read_proxies(
        {
            "HTTP_PROXY": "http://upper.test:1",
            "http_proxy": "lower.test:3128",
            "HTTPS_PROXY": "http://us%40er:p%3Aw@h.test",
            "NO_PROXY": " internal.test, 10.0.0.0/8 ,,",
        }
    )
    assert proxies.http == Proxy("lower.test", 3128)
    assert proxies.https == Proxy("h.test", 1080, "Basic dXNAZXI6cDp3")
    assert proxies.without == ("internal.test", "10.0.0.0/8")
    assert read_proxies({}) == Proxies()


@pytest.mark.parametrize("url", ["https://h.test:1", "socks5://h.test:1", "http://"])
def test_a_proxy_we_cannot_speak_to_is_refused_at_start(url: str) -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY"):
        read_proxies({"HTTPS_PROXY": url})


@pytest.mark.parametrize(
    ("without", "url", "direct"),
    [
        ("", "https://h.test", False),
        ("*", "https://h.test", True),
        ("h.test", "https://h.test", True),
        ("h.test", "https://api.h.test", True),
        (".h.test", "https://api.h.test", True),
        ("*.h.test", "https://api.h.test", True),
        ("h.test", "https://oth.test", False),
        ("h.test", "https://evilh.test", False),
        ("h.test:8443", "https://h.test:8443", True),
        ("h.test:8443", "https://h.test", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("fd00::/8", "https://[fd00::5]", True),
        ("fd00::/8", "https://h.test", False),
        ("", "https://127.0.0.1:9", True),
        ("", "https://[::1]", True),
        ("", "https://localhost", True),
    ],
)
def test_what_goes_without_a_proxy(without: str, url: str, direct: bool) -> None:
    proxies = read_proxies({"HTTPS_PROXY": "http://proxy.test:1", "NO_PROXY": without})
    assert (find_proxy(proxies, split_base(url)[0]) is None) is direct


@on_both_loops
async def test_only_our_own_headers_arrive_and_each_once() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream()
        for _ in range(2):
            await (await client.send(upstream.endpoint(headers=(("x-org", "o"),)), ASK)).read_whole(1 << 20)
        for request in upstream.requests:
            assert list(request.headers) == [
                "host", "user-agent", "accept", "accept-encoding", "authorization", "x-org", "content-type",
                "content-length",
            ]  # fmt: skip
            assert request.headers["authorization"] == "Bearer sk-upstream-secret"
        await client.close()
