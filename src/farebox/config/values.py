"""Values of settings that are more than any text: how each is read, and what it refuses.

A type carries its `Reader` as an annotation; `read_texts` meets it on the way through a document and puts the plain
value there, so that settings hold nothing but integers and texts. What a reader refuses is told without repeating
what may be secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_network
from typing import Annotated, Final, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from farebox.core.money import check_currency, parse_nano

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_POSTGRES = re.compile(r"postgres(ql)?://([^\s:/?#@]*(:[^\s/?#@]*)?@)?[^\s/?#@]*/[^\s/?#@]+(\?[^\s#@]*)?")
_PASSWORD = re.compile(r"(://[^:/@]*:)[^/@]*(?=@)|([?&]password=)[^&]*")
_MODEL_ID = re.compile(r"[!-~]{1,200}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# The client writes these itself; a second one would let two readers see two different messages.
_OWN_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type"})
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_MAIL_ADDRESS_MAX = 254  # RFC 5321, 4.5.3.1.3
_HEADER_TEXT = re.compile(r"[ -~]*")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_WHEN: Final = 'a day such as "2026-12-01", or a time such as "2026-12-01T00:00:00+05:30"'


class Reader(NamedTuple):
    """How the text of a setting becomes its value."""

    read: Callable[[str], object]  # ValueError says what is wrong.
    unquoted: str = "expected text in quotes"


class Secret(str):
    """A key, or `$NAME` for the environment variable that holds it. Its repr shows nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Hide the value wherever a struct that holds it is printed."""
        return "'***'"


class Address(str):
    """Where a database is. It may hold a password, which its repr and `shown` hide."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        """The address as it may be seen by anybody."""
        return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", self)

    def __repr__(self) -> str:
        """Hide the password wherever a struct that holds it is printed."""
        return repr(self.shown)


def read_secret(text: str) -> Secret:
    """A text that can stand in a header."""
    if not _HEADER_TEXT.fullmatch(text.strip()):
        raise ValueError("holds characters that cannot be sent in a header")
    return Secret(text.strip())


def read_amount(text: str) -> int:
    """Money in nano-units of the wallet's currency, not negative."""
    nano = parse_nano(text)
    if nano < 0:
        raise ValueError("must not be negative")
    return nano


def read_factor(text: str) -> int:
    """A multiplier in nano-units: 1.20 is 1,200,000,000. Never zero, for a price of zero would be a gift."""
    nano = read_amount(text)
    if nano == 0:
        raise ValueError("must be more than 0")
    return nano


def read_zone(text: str) -> str:
    """A time zone that this machine knows; UTC is known even where it has no time zone data."""
    if text != "UTC":
        try:
            ZoneInfo(text)
        # A name such as "Asia" is a directory of the data: OSError.
        except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
            raise ValueError(f"{text!r} is not a time zone: write one such as Asia/Kolkata") from unknown
    return text


def read_when(text: str) -> str:
    """A day, or a time with its zone; which moment a day begins at is for the wallet's time zone to say."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write {_WHEN}") from None
    if moment.tzinfo is None and not _DAY.fullmatch(text):
        raise ValueError(f"{text!r} says no time zone: write {_WHEN}")
    return text


def read_url(text: str) -> str:
    """An http or https address without credentials, query or trailing slash; empty where none is given."""
    if text == "":
        return text
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # An unclosed bracket, a port beyond 65535.
        whole = False
    # urlsplit silently drops line ends and tabs, so the text itself is looked at.
    if not whole or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("write an address such as https://api.example.com/v1")
    if "@" in parts.netloc:
        raise ValueError("keep credentials out of the address: they belong in api_key")
    if "?" in text or "#" in text:
        raise ValueError("write the address without ? and #")
    return text.rstrip("/")


def read_mail_address(text: str) -> str:
    """A plain mail address; empty where none is given."""
    if text != "" and (len(text) > _MAIL_ADDRESS_MAX or not _MAIL_ADDRESS.fullmatch(text)):
        raise ValueError("write a mail address such as billing@example.com")
    return text


def read_webhook(text: str) -> Secret:
    """An address that notices are posted to, hidden because many hold a token; empty where none is given."""
    if text == "":
        return Secret()
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # An unclosed bracket, a port beyond 65535.
        whole = False
    if not whole or not re.fullmatch(r"[!-~]+", text) or "@" in parts.netloc or "#" in text:
        raise ValueError("write an address such as https://example.com/hook, without user or fragment")
    return Secret(text)


def read_database(text: str) -> Address:
    """`sqlite:///relative`, `sqlite:////absolute` or `postgresql://…`; empty for farebox.db in the data directory."""
    if text.startswith(("postgresql:", "postgres:")):
        if not _POSTGRES.fullmatch(text):
            raise ValueError(
                "write postgresql://USER:PASSWORD@HOST:PORT/NAME; in a password / is %2F, @ %40, ? %3F and # %23"
            )
        return Address(text)
    if text.startswith("sqlite:///:memory:"):
        raise ValueError("books in memory would be lost with the process: write sqlite:///PATH")
    if text != "" and not re.fullmatch(r"sqlite:///.*[^/]", text):
        raise ValueError("write sqlite:///PATH; an absolute path makes four slashes")
    return Address(text)


def read_redis(text: str) -> str:
    """Nothing but the empty text, until there is something that would use an address."""
    if text != "":
        raise ValueError("Redis is not supported yet by this version")
    return text


def read_network(text: str) -> str:
    """An IP address or network."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address or network such as 10.0.0.0/8") from None
    return text


def read_name(text: str) -> str:
    """A name that is safe in addresses, logs and model ids."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name: write small letters, digits, dots and hyphens")
    return text


def read_header_name(text: str) -> str:
    """A token of RFC 9110 in small letters, but for those the client writes itself."""
    if not _HEADER_NAME.fullmatch(text) or text.lower() in _OWN_HEADERS:
        raise ValueError(f"{text!r} is not a header that may be set")
    return text.lower()


def read_model_id(text: str) -> str:
    """What callers name a model by."""
    if not _MODEL_ID.fullmatch(text):
        raise ValueError(f"{text!r} is not a model id: write up to 200 letters, digits and signs, no spaces")
    return text


_BARE: Final = 'write amounts in quotes, such as "0.15": a bare number would not stay exact'

Amount = Annotated[int, Reader(read_amount, _BARE)]
Factor = Annotated[int, Reader(read_factor, _BARE)]
Currency = Annotated[str, Reader(check_currency)]
Zone = Annotated[str, Reader(read_zone)]
When = Annotated[str, Reader(read_when, f"write {_WHEN}, in quotes")]
Url = Annotated[str, Reader(read_url)]
MailAddress = Annotated[str, Reader(read_mail_address)]
Webhook = Annotated[Secret, Reader(read_webhook)]
Database = Annotated[Address, Reader(read_database)]
Redis = Annotated[str, Reader(read_redis)]
Network = Annotated[str, Reader(read_network)]
Name = Annotated[str, Reader(read_name)]
HeaderName = Annotated[str, Reader(read_header_name)]
ModelId = Annotated[str, Reader(read_model_id)]
Hidden = Annotated[Secret, Reader(read_secret)]
