"""E-mail: a notice as plain text, through the operator's mail server."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import msgspec

from farebox.app.delivery.aside import aside
from farebox.billing.telling.notices import Notice
from farebox.billing.telling.outbox import Outcome, Recipient
from farebox.core.clock import Clock

STEP_S = 15.0  # For each thing that is said to the server.
TOTAL_S = 90.0  # Less than a claim, so that nobody else sends the same meanwhile.
_PERMANENT = range(500, 600)


class Server(msgspec.Struct, frozen=True):
    """The mail server. `security` is starttls, tls or none; without a user nobody signs in."""

    host: str
    port: int
    security: str
    sender: str
    user: str = ""
    password: str | None = None

    def __repr__(self) -> str:
        """Name the server without the password."""
        return f"Server({self.host!r}, {self.port})"


class Mailer:
    """The channel `email`."""

    def __init__(self, server: Server, clock: Clock, *, tls: ssl.SSLContext | None = None) -> None:
        """`tls` replaces the system's trust store."""
        self._server = server
        self._clock = clock
        self._tls = tls

    def reaches(self, recipient: Recipient) -> bool:
        """Whether a recipient has a mail address."""
        return bool(recipient.email)

    async def send(self, recipient: Recipient, notice: Notice) -> Outcome:
        """Hand a notice to the mail server once."""
        sender = self._server.sender
        target = recipient.email or ""
        message = _message(notice, sender, target, self._clock.now_us())
        try:
            async with asyncio.timeout(TOTAL_S):
                await aside(lambda: self._hand_over(target, message))
        except TimeoutError:
            return Outcome(delivered=False, answer="the mail server did not answer in time")
        except smtplib.SMTPRecipientsRefused as error:
            code = next((code for code, _ in error.recipients.values()), 0)
            return Outcome(
                delivered=False,
                answer=f"the mail server refused the address ({code})",
                final=code in _PERMANENT,
            )
        except smtplib.SMTPResponseException as error:
            return Outcome(delivered=False, answer=f"the mail server answered {error.smtp_code}")
        except (OSError, ValueError) as error:  # Among them smtplib's others and ssl's.
            return Outcome(
                delivered=False, answer=f"the mail server could not be used ({type(error).__name__})"
            )
        return Outcome(delivered=True, answer="the mail server took it")

    def _hand_over(self, target: str, message: bytes) -> None:
        server = self._server
        name = server.sender.rpartition("@")[2]  # Else smtplib asks the resolver for this machine's name.
        if server.security == "tls":
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, local_hostname=name, timeout=STEP_S, context=self._context()
            )
        else:
            session = smtplib.SMTP(server.host, server.port, local_hostname=name, timeout=STEP_S)
        with session:
            if server.security == "starttls":
                session.starttls(context=self._context())  # Refused, and nothing is sent in the clear.
            if server.user:
                session.login(server.user, server.password or "")
            session.sendmail(server.sender, [target], message)

    def _context(self) -> ssl.SSLContext:
        return self._tls or ssl.create_default_context()


def _message(notice: Notice, sender: str, target: str, now_us: int) -> bytes:
    """The mail as bytes; the library refuses a line end in any header, and no header has one to begin with."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address("Farebox", addr_spec=sender)
    message["To"] = Address(addr_spec=target)
    message["Subject"] = notice.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(now_us // 1_000_000, UTC))
    # The same at every try, so that a mailbox which gets it twice can tell.
    message["Message-ID"] = f"<{notice.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notices in answer.
    message.set_content(notice.text, charset="utf-8", cte="quoted-printable")  # Any server takes it.
    return message.as_bytes()
