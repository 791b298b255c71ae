"""The vault: what is sealed opens at its own place alone, and stays readable when the secret is replaced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.app.secret import SECRETS_MAX, read_secrets, rotate_secret
from farebox.store.vault import SealBrokenError, Vault

OLD, NEW = b"o" * 32, b"n" * 32


@given(st.binary(max_size=2_000), st.binary(max_size=50))
def test_what_is_sealed_opens_as_it_was(data: bytes, context: bytes) -> None:
    safe = Vault([OLD]).safe("replies")
    sealed = safe.seal(data, context)
    assert safe.open(sealed, context) == data
    assert len(data) < 4 or data not in sealed
    assert safe.seal(data, context) != sealed


def test_it_opens_for_no_other_purpose_context_or_secret() -> None:
    sealed = Vault([OLD]).safe("replies").seal(b"text", b"account 1")
    for vault, purpose, context in [
        (Vault([OLD]), "provider keys", b"account 1"),
        (Vault([OLD]), "replies", b"account 2"),
        (Vault([NEW]), "replies", b"account 1"),
    ]:
        with pytest.raises(SealBrokenError):
            vault.safe(purpose).open(sealed, context)


@given(st.data())
def test_no_byte_of_it_can_be_changed(data: st.DataObject) -> None:
    safe = Vault([OLD]).safe("replies")
    sealed = bytearray(safe.seal(b"some text", b""))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBrokenError):
        safe.open(bytes(sealed), b"")


@given(st.binary(max_size=40))
def test_any_bytes_at_all_are_no_seal(data: bytes) -> None:
    with pytest.raises(SealBrokenError):
        Vault([OLD]).safe("replies").open(data, b"")


def test_a_new_secret_seals_and_the_one_before_still_opens() -> None:
    before, after = Vault([OLD]).safe("replies"), Vault([NEW, OLD]).safe("replies")
    assert after.open(before.seal(b"text", b""), b"") == b"text"
    with pytest.raises(SealBrokenError):
        before.open(after.seal(b"text", b""), b"")


def test_marks_tell_equal_from_other_under_every_secret_and_purpose() -> None:
    before, after = Vault([OLD]).safe("replies"), Vault([NEW, OLD]).safe("replies")
    assert before.mark(b"body") in after.marks(b"body")
    assert after.mark(b"body") in after.marks(b"body")
    assert before.mark(b"body") not in after.marks(b"other")
    assert Vault([OLD]).safe("provider keys").mark(b"body") != before.mark(b"body")


@pytest.mark.parametrize("secrets", [[], [b""], [OLD, b""]])
def test_an_empty_secret_is_refused(secrets: list[bytes]) -> None:
    with pytest.raises(ValueError, match="empty"):
        Vault(secrets)


def test_neither_vault_nor_safe_shows_its_secrets() -> None:
    vault = Vault([b"very secret"])
    assert "very secret" not in f"{vault!r} {vault.safe('replies')!r}"


def test_the_cipher_is_not_loaded_before_it_is_used() -> None:
    code = (
        "import sys, farebox.app.worker; from farebox.store.vault import Vault; Vault([b'x']).safe('p').mark(b'');"
        "assert 'cryptography' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_first_start_makes_a_secret_that_nobody_else_may_read(tmp_path: Path) -> None:
    (secret,) = read_secrets(tmp_path, {})
    assert len(secret) == 32
    assert read_secrets(tmp_path, {}) == (secret,)
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret.key"]


def test_a_rotation_puts_a_new_secret_first_and_keeps_the_others(tmp_path: Path) -> None:
    (first,) = read_secrets(tmp_path, {})
    assert rotate_secret(tmp_path, {}) == 2
    new, old = read_secrets(tmp_path, {})
    assert old == first
    assert new != first
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_secret_of_the_environment_comes_first_and_is_rotated_there(tmp_path: Path) -> None:
    environment = {"FAREBOX_SECRET": "xyzzy-new, xyzzy-old"}
    assert read_secrets(tmp_path, environment) == (b"xyzzy-new", b"xyzzy-old")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="FAREBOX_SECRET") as raised:
        rotate_secret(tmp_path, environment)
    assert "xyzzy" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "\n", "no hexadecimal\n", "zz\n"])
def test_a_file_that_holds_no_secret_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret.key").write_text(text)
    with pytest.raises(ValueError, match=r"secret\.key") as raised:
        read_secrets(tmp_path, {})
    assert "zz" not in str(raised.value)


def test_the_number_of_secrets_is_bounded(tmp_path: Path) -> None:
    read_secrets(tmp_path, {})
    for _ in range(SECRETS_MAX - 1):
        rotate_secret(tmp_path, {})
    with pytest.raises(ValueError, match="oldest"):
        rotate_secret(tmp_path, {})
