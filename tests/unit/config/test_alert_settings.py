"""`[alerts]` and `[email]`: whoever is to be told must be reachable, and no secret is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from farebox.config.origin import ConfigError
from farebox.config.read import read_settings
from farebox.config.settings import Known, Settings

KNOWN = Known(frozenset(), frozenset(), frozenset())
MAIL = '[email]\nhost = "smtp.example"\nsender = "billing@shop.example"\n'


def read(folder: Path, text: str, **environment: str) -> Settings:
    path = folder / "farebox.toml"
    path.write_text(text)
    return read_settings(path, environment, KNOWN)


def test_a_secret_may_stand_in_a_variable(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        MAIL + 'password = "$WORD"\n[alerts]\nwebhook_secret = "$HOOK"\n',
        WORD="letmein",
        HOOK="whsec_x",
    )
    assert settings.email.password == "letmein"
    assert settings.alerts.webhook_secret == "whsec_x"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('[alerts]\nemail = "ops@shop.example"', "alerts.email"),
        ('[alerts]\nemail = "ops@shop.example, else@shop.example"\n' + MAIL, "alerts.email"),
        ('[alerts]\nemail = "ops@shop.example\\nBcc: x@y.example"\n' + MAIL, "alerts.email"),
        ('[email]\nhost = "smtp.example"', "email.sender"),
        ('[email]\nhost = "smtp.example"\nsender = "Shop <a@b.example>"', "email.sender"),
        (MAIL + 'security = "ssl"', "email.security"),
        (MAIL + 'password = "$MISSING"', "email.password"),
        ('[alerts]\nwebhook = "http://canary.example/"', "alerts.webhook"),
        ('[alerts]\nwebhook = "ftp://canary.example/"', "alerts.webhook"),
        ('[alerts]\nwebhook = "https://user:canary@shop.example/"', "alerts.webhook"),
        ('[alerts]\nwebhook = "https://canary.example/#x"', "alerts.webhook"),
        ('[alerts]\nwebhook = "https://[canary"', "alerts.webhook"),
        ('[alerts]\nwebhook = "https://canary.example/\\r\\nx: y"', "alerts.webhook"),
    ],
)
def test_what_nothing_can_be_sent_to_is_refused(tmp_path: Path, text: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.path == path
    assert "canary" not in str(caught.value)


def test_a_private_webhook_may_be_in_the_clear_if_that_is_said(tmp_path: Path) -> None:
    settings = read(tmp_path, '[alerts]\nwebhook = "http://10.0.0.7/hook"\nallow_private = true')
    assert settings.alerts.webhook == "http://10.0.0.7/hook"
    assert not read(tmp_path, '[alerts]\nwebhook = ""').alerts.webhook
