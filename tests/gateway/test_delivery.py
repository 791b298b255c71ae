"""Delivery: what leaves by webhook and by mail, over real sockets, and what never does."""

from __future__ import annotations

import asyncio
import hmac
import socket
import ssl
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from farebox.app.delivery.mail import Mailer, Server
from farebox.app.delivery.webhook import TOTAL_S, Webhooks, sign
from farebox.billing.telling.notices import Notice
from farebox.billing.telling.outbox import Outcome, Recipient
from farebox.core.clock import ManualClock
from tests.support.certificate import client_context, make_certificate, server_context
from tests.support.post_office import MailServer, serve_mail, serve_receiver

NOW_S = 1_700_000_000
NOTICE = Notice(
    "one",
    1,
    "low_balance",
    "80 % of your balance is spent",
    "Ünly 2 ₹ left.\n.\nTop up!",
    {"level": "80"},
    NOW_S * 10**6,
)
SECRET = "whsec_" + b64encode(b"twenty-four bytes secret").decode()
OWN = "billing@shop.example"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def operator(port: int, path: str = "/hook") -> Recipient:
    return Recipient(None, webhook_url=f"http://127.0.0.1:{port}{path}", webhook_secret=SECRET, private=True)


def customer(port: int, host: str = "provider.test") -> Recipient:
    return Recipient("acme", webhook_url=f"https://{host}:{port}/hook", webhook_secret=SECRET)


async def posted(recipient: Recipient) -> Outcome:
    return await Webhooks(ManualClock()).send(recipient, NOTICE)


async def test_a_webhook_is_json_signed_as_standard_webhooks_says() -> None:
    async with serve_receiver() as receiver:
        outcome = await posted(operator(receiver.port, "/hook?token=1"))
    assert outcome == Outcome(delivered=True, answer="answered 204")
    (post,) = receiver.posted
    assert post.line == "POST /hook?token=1 HTTP/1.1"
    assert post.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert post.headers["content-type"] == "application/json"
    assert post.json == {
        "id": NOTICE.id,
        "type": "low_balance",
        "created": "2023-11-14T22:13:20Z",
        "account": None,
        "data": {"level": "80"},
        "subject": NOTICE.subject,
        "text": NOTICE.text,
    }
    assert post.headers["webhook-id"] == NOTICE.id
    assert post.headers["webhook-timestamp"] == str(NOW_S)
    signed = f"{NOTICE.id}.{NOW_S}.".encode() + post.body
    expected = b64encode(hmac.digest(b64decode(SECRET[6:]), signed, "sha256")).decode()
    assert post.headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    # https://github.com/standard-webhooks/standard-webhooks, the test of its libraries.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_without_a_secret_nothing_is_signed() -> None:
    async with serve_receiver() as receiver:
        await posted(Recipient(None, webhook_url=f"http://127.0.0.1:{receiver.port}", private=True))
    assert receiver.posted[0].line == "POST / HTTP/1.1"
    assert "webhook-signature" not in receiver.posted[0].headers


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 500 Oh\r\n\r\n", Outcome(False, "answered 500")),
        (b"HTTP/1.1 410 Gone\r\n\r\n", Outcome(False, "answered 410", final=True)),
        (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Outcome(True, "answered 200")),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Outcome(False, "the receiver's answer is no HTTP")),
        (
            b"HTTP/1.1 200 OK\r\nx-endless: " + b"x" * 100_000,
            Outcome(False, "the receiver's answer is no HTTP"),
        ),
        (b"HTTP/1.1 999 OK\r\n\r\n", Outcome(False, "the receiver's answer is no HTTP")),
        (b"HTTP/1.1 200", Outcome(False, "the receiver's answer is no HTTP")),
        (b"", Outcome(False, "the receiver's answer is no HTTP")),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000, Outcome(True, "answered 200")),
    ],
    ids=["crash", "gone", "announced", "ssh", "endless", "no status", "cut", "nothing", "long"],
)
async def test_only_a_2xx_is_delivered(answer: bytes, outcome: Outcome) -> None:
    async with serve_receiver() as receiver:
        receiver.answers = [answer]
        assert await posted(operator(receiver.port)) == outcome


async def test_a_redirect_is_not_followed() -> None:
    async with serve_receiver() as receiver, serve_receiver() as other:
        receiver.answers = [f"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:{other.port}/\r\n\r\n".encode()]
        outcome = await posted(operator(receiver.port))
        assert outcome == Outcome(False, "answered 307; redirects are not followed")
        assert other.connections == 0


async def test_a_receiver_who_says_nothing_is_waited_for_so_long_and_no_longer() -> None:
    assert TOTAL_S == 10
    async with serve_receiver() as receiver:
        receiver.answers = [None]
        outcome = await Webhooks(ManualClock(), total_s=0.3).send(operator(receiver.port), NOTICE)
    assert outcome == Outcome(False, "no answer within 0.3 s")


async def test_nobody_there_is_an_outcome() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        outcome = await posted(operator(bound.getsockname()[1]))
    assert outcome == Outcome(False, "the receiver could not be reached")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"]
)
async def test_a_customers_address_at_home_is_never_connected_to(host: str) -> None:
    async with serve_receiver() as receiver:
        outcome = await posted(customer(receiver.port, host))
        assert not outcome.delivered
        assert receiver.connections == 0


async def test_a_name_with_one_private_address_among_others_is_refused() -> None:
    hooks = Webhooks(ManualClock(), resolve=lambda _host, _port: ["1.1.1.1", "127.0.0.1"])
    outcome = await hooks.send(customer(443), NOTICE)
    assert outcome.answer == "the address is not on the public internet"


async def test_a_customers_address_is_https_or_nothing() -> None:
    async with serve_receiver() as receiver:
        plain = Recipient("acme", webhook_url=f"http://127.0.0.1:{receiver.port}/")
        assert (await posted(plain)).final
        assert receiver.connections == 0


async def test_a_name_is_resolved_once_and_its_certificate_is_checked(pem: Path) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        # Whoever resolved again would be sent elsewhere, as by an attacker's name server.
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    async with serve_receiver(server_context(pem)) as receiver:
        hooks = Webhooks(ManualClock(), resolve=resolve, is_allowed=lambda _: True, tls=client_context(pem))
        outcome = await hooks.send(customer(receiver.port), NOTICE)
        assert outcome.delivered
        assert asked == ["provider.test"]
        assert receiver.posted[0].json["account"] == "acme"
        asked.clear()
        stranger = await hooks.send(customer(receiver.port, "stranger.test"), NOTICE)
        assert stranger.answer.startswith("TLS failed")
        asked.clear()
        unknown = Webhooks(ManualClock(), resolve=resolve, is_allowed=lambda _: True)
        assert (await unknown.send(customer(receiver.port), NOTICE)).answer.startswith("TLS failed")


async def test_of_several_addresses_the_next_is_tried(pem: Path) -> None:
    async with serve_receiver(server_context(pem)) as receiver:
        hooks = Webhooks(
            ManualClock(),
            resolve=lambda _host, _port: ["127.0.0.9", "127.0.0.1"],
            is_allowed=lambda _: True,
            tls=client_context(pem),
        )
        assert (await hooks.send(customer(receiver.port), NOTICE)).delivered


def mailer(
    server: MailServer, security: str = "none", tls: ssl.SSLContext | None = None, user: str = ""
) -> Mailer:
    return Mailer(
        Server("127.0.0.1", server.port, security, OWN, user, "letmein" if user else None),
        ManualClock(),
        tls=tls,
    )


TO_ACME = Recipient("acme", email="ann@acme.example")


async def test_a_mail_is_plain_text_with_its_own_id() -> None:
    async with serve_mail() as server:
        outcome = await mailer(server).send(TO_ACME, NOTICE)
    assert outcome.delivered
    (mail,) = server.mails
    assert mail["Subject"] == NOTICE.subject
    assert mail["To"] == "ann@acme.example"
    assert mail["From"] == f"Farebox <{OWN}>"
    assert mail["Message-ID"] == f"<{NOTICE.id}@shop.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == NOTICE.text.splitlines()
    assert max(map(len, server.raw[0].splitlines())) < 998
    assert server.raw[0].isascii()
    assert [one for one in server.said if one.upper().startswith("RCPT")] == ["rcpt TO:<ann@acme.example>"]


@pytest.mark.parametrize("at_once", [False, True], ids=["starttls", "tls"])
async def test_mail_goes_encrypted_and_signs_in_only_then(pem: Path, at_once: bool) -> None:
    async with serve_mail(server_context(pem), at_once=at_once) as server:
        security = "tls" if at_once else "starttls"
        outcome = await mailer(server, security, client_context(pem), user="shop").send(TO_ACME, NOTICE)
        assert outcome.delivered, outcome
        verbs = [one.partition(" ")[0].upper() for one in server.said]
        assert "AUTH" in verbs
        if not at_once:
            assert verbs.index("STARTTLS") < verbs.index("AUTH")


async def test_a_server_without_starttls_gets_neither_mail_nor_password() -> None:
    async with serve_mail() as server:
        outcome = await mailer(server, "starttls", user="shop").send(TO_ACME, NOTICE)
    assert not outcome.delivered
    assert not server.mails
    assert not [one for one in server.said if one.upper().startswith(("AUTH", "MAIL"))]


async def test_a_server_with_another_certificate_gets_nothing(pem: Path) -> None:
    async with serve_mail(server_context(pem)) as server:
        outcome = await mailer(server, "starttls", user="shop").send(TO_ACME, NOTICE)
    assert not outcome.delivered
    assert not server.mails


@pytest.mark.parametrize(("code", "final"), [(550, True), (451, False)])
async def test_an_address_that_is_refused_for_good_is_given_up(code: int, final: bool) -> None:
    async with serve_mail() as server:
        server.refused["ann@acme.example"] = code
        outcome = await mailer(server).send(TO_ACME, NOTICE)
    assert outcome == Outcome(False, f"the mail server refused the address ({code})", final=final)


async def test_no_mail_server_is_an_outcome_that_tells_no_password() -> None:
    server = Server("127.0.0.1", 1, "none", OWN, "shop", "letmein")
    outcome = await Mailer(server, ManualClock()).send(TO_ACME, NOTICE)
    assert not outcome.delivered
    assert "letmein" not in outcome.answer + repr(server)


async def test_mails_are_sent_beside_the_loop() -> None:
    async with serve_mail() as server:
        sending = asyncio.create_task(mailer(server).send(TO_ACME, NOTICE))
        turns = 0
        while not sending.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 5
        assert sending.result().delivered
