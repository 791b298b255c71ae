"""Seals: any signature comes back byte for byte, in letters that every client and provider lets through."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.dialects.seal import holds_seals, seal, seal_id, unseal, unseal_id

signatures = st.text(max_size=200)
dialects = st.sampled_from(["anthropic", "gemini", "openai_responses"])
ids = st.from_regex(r"\A[a-zA-Z0-9_-]{1,40}\Z")


@given(signatures, dialects)
def test_a_seal_gives_back_the_signature_and_its_signer(signature: str, signed_by: str) -> None:
    sealed = seal(signature, signed_by)
    assert unseal(sealed) == (signature, signed_by)
    assert holds_seals(f'{{"signature":"{sealed}"}}'.encode())
    base64.b64decode(sealed, validate=True)  # Google's client decodes a signature before it sends it.


@given(ids, signatures)
def test_an_id_carries_its_signature_in_letters_that_ids_may_have(call_id: str, signature: str) -> None:
    sealed = seal_id(call_id, signature)
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", sealed)
    assert unseal_id(sealed) == (call_id, signature)
    assert holds_seals(sealed.encode())


@given(ids, signatures, signatures)
def test_an_id_sealed_twice_opens_layer_by_layer(call_id: str, first: str, second: str) -> None:
    twice = seal_id(seal_id(call_id, first), second)
    outer, found = unseal_id(twice)
    assert found == second
    assert unseal_id(outer) == (call_id, first)


@given(st.text(max_size=60))
def test_what_is_no_seal_stays_as_it_is(text: str) -> None:
    if "ZmFyZWJveD" not in text:
        assert unseal(text) is None
        assert unseal_id(text) == (text, None)
        assert not holds_seals(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "ZmFyZWJveD",
        "ZmFyZWJveDphbnRocm9waWM=",  # No signature behind the signer.
        "ZmFyZWJveD8=",
        "ZmFyZWJveDrD",
        "ZmFyZWJveDr/////",
    ],
)
def test_a_broken_seal_is_none(text: str) -> None:
    assert unseal(text) is None
    assert unseal_id(f"call_1_fbx_{text}")[0].startswith("call_1")


def test_a_native_signature_is_never_taken_for_a_seal() -> None:
    for native in ("EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk", "AVSoXO4gNO3kMzLbGv6ZkJ", ""):
        assert unseal(native) is None
