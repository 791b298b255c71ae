"""The estimate of a prompt: near the truth for any script, safe for a hold, and never fooled by base64."""

from __future__ import annotations

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault
from farebox.dialects import DIALECTS
from farebox.gateway.tokens import (
    ENVELOPE_TOKENS,
    MEDIA_BOUNDS,
    MEDIA_FROM_BYTES,
    cut_media,
    text_tokens,
    thinned_tokens,
)
from tests.dialects.recordings import Exchange, over_exchanges

CHAT = DIALECTS["openai_chat"]
ENGLISH = (
    "She walked to the window, opened it, and listened to the rain as it fell on the old stones"
    " of the courtyard. "
)
# Words, times, and what o200k makes of them (rs-bpe 0.1.0).
MEASURED = {
    "English": (ENGLISH, 20, 501),
    "Hindi": ("भारत एक विशाल देश है जहाँ अनेक भाषाएँ बोली जाती हैं। ", 20, 281),
    "Tamil": ("செயற்கை நுண்ணறிவு நமது வாழ்க்கையை மாற்றுகிறது. ", 20, 302),
    "Chinese": ("人工智能正在改变我们的生活方式。", 20, 160),
    "Japanese": ("人工知能は私たちの生活を変えつつあります。", 20, 320),
    "Korean": ("인공지능은 우리의 생활 방식을 바꾸고 있습니다. ", 20, 261),
    "Russian": ("Искусственный интеллект меняет нашу жизнь. ", 20, 182),
    "numbers": ("8675309 1234567 ", 40, 320),
}


def body_of(words: str, *, escaped: bool = False) -> bytes:
    return json.dumps(
        {"model": "acme/one", "messages": [{"role": "user", "content": words}]}, ensure_ascii=escaped
    ).encode()


def picture_body(size: int, *, words: str = "What is this?") -> bytes:
    data = base64.b64encode(random.Random(7).randbytes(size)).decode()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    content = [{"type": "text", "text": words}, url]
    return json.dumps({"model": "acme/one", "messages": [{"role": "user", "content": content}]}).encode()


def counted(body: bytes) -> int:
    """As a hold counts: with what is media told from what is words."""
    thin, runs = cut_media(body)
    try:
        turns = CHAT.read_prompt(thin).turns if runs else ()
    except Fault:
        turns = ()
    return thinned_tokens(thin, runs, (part for turn in turns for part in turn.parts))


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("escaped", [False, True], ids=["utf-8", "escaped"])
def test_an_estimate_is_near_what_a_tokenizer_counts(name: str, *, escaped: bool) -> None:
    words, times, real = MEASURED[name]
    ratio = text_tokens(body_of(words * times, escaped=escaped)) / real
    print(f"{name}: {ratio:.2f}")
    assert 0.8 < ratio < 2.2


def test_letters_are_counted_alike_however_they_are_escaped() -> None:
    words = MEASURED["Hindi"][0] * 20
    plain, escaped = (text_tokens(body_of(words, escaped=escaped)) for escaped in (False, True))
    assert plain == escaped


@pytest.mark.parametrize("size", [20_000, 300_000, 2_000_000])
def test_a_picture_costs_a_picture_whatever_its_size(size: int) -> None:
    assert counted(picture_body(size)) < MEDIA_BOUNDS["image"][0] + 100


def test_several_pictures_and_their_words_are_all_counted() -> None:
    data = base64.b64encode(random.Random(7).randbytes(60_000)).decode()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    content = [{"type": "text", "text": ENGLISH * 50}, url, {"type": "text", "text": ENGLISH * 50}, url]
    tokens = counted(json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode())
    assert 2 * MEDIA_BOUNDS["image"][0] + 2_200 < tokens < 2 * MEDIA_BOUNDS["image"][0] + 3_200


@pytest.mark.parametrize(
    "words", ["A" * 200_000, "data:image/png;base64," + "A" * 200_000, "iVBORw0KGgo" * 20_000]
)
def test_base64_in_the_place_of_words_is_counted_as_words(words: str) -> None:
    assert counted(body_of(words)) > len(words) // 3


def test_base64_in_a_member_nobody_knows_is_counted_as_words() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "image_url": {"url": "A" * 100_000}}
    assert counted(json.dumps(body).encode()) > 30_000


def test_who_writes_our_own_mark_gains_nothing() -> None:
    assert counted(body_of("FareboxRun000000 " + "A" * 200_000)) > 30_000
    both = picture_body(100_000, words="FareboxRun000000")
    assert counted(both) < MEDIA_BOUNDS["image"][0] + 100


@given(st.binary(max_size=60_000))
def test_any_bytes_can_be_counted(data: bytes) -> None:
    thin, runs = cut_media(data)
    assert thinned_tokens(thin, runs, ()) >= 0
    assert len(thin) + sum(runs) - 16 * len(runs) == len(data)
    assert text_tokens(data) <= 2 * len(data) + 1


@given(st.text(max_size=2_000), st.text(max_size=2_000))
def test_more_words_are_never_fewer_tokens_but_for_the_marks_between(first: str, second: str) -> None:
    both = text_tokens(body_of(first + second))
    assert both + 2 >= max(text_tokens(body_of(first)), text_tokens(body_of(second)))


def test_small_bodies_are_not_looked_through() -> None:
    body = picture_body(6_000)
    assert len(body) < MEDIA_FROM_BYTES
    assert cut_media(body) == (body, [])


@pytest.mark.recordings
@over_exchanges(lambda exchange: exchange.request and len(exchange.request) > 3_000 and exchange.recorded)
def test_large_recorded_prompts_are_estimated_within_a_hold_s_margin(exchange: Exchange) -> None:
    """Of small ones a provider's own words about tools are the greater part, which nobody here can see."""
    dialect = DIALECTS[exchange.dialect]
    reader = dialect.reader(stream=exchange.plain is None)
    data = exchange.plain or exchange.stream
    if data is None or exchange.request is None:
        pytest.skip("it has no answer")
    events = [*reader.feed(data), *reader.end()]
    usage = next((found for event in reversed(events) if (found := getattr(event, "usage", None))), None)
    if usage is None or not usage.input_total:
        pytest.skip("its answer tells no usage")
    thin, runs = cut_media(exchange.request)
    turns = dialect.read_prompt(thin).turns if runs else ()
    tokens = thinned_tokens(thin, runs, (part for turn in turns for part in turn.parts)) - ENVELOPE_TOKENS
    ratio = tokens / usage.input_total
    print(f"{exchange.name}: {ratio:.2f}")
    assert ratio * 6 / 5 > 1
    assert ratio < 3 or runs, "pictures have a bound, not a count"
