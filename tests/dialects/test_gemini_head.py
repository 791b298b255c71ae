"""The head of a generateContent call: what is refused before any money moves, and what travels to a provider."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.dialects.dialect import Asked, Head
from farebox.dialects.gemini import Gemini
from farebox.dialects.gemini.count import read_count, write_count, write_counted
from farebox.dialects.gemini.head import read_head, write_relayed
from farebox.dialects.gemini.rules import HOSTED_TOOLS, REFUSED, REFUSED_SETTINGS, RULES, is_public
from farebox.dialects.gemini.spelling import SNAKES, respelled
from farebox.dialects.own import OWN
from farebox.dialects.seal import seal
from farebox.providers.http1.origin import check_target

CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]
ASKED = Asked(model="gemini-2.5-flash", stream=False)


def body(**members: Any) -> bytes:
    return json.dumps({"contents": CONTENTS, **members}).encode()


def settings(**members: Any) -> bytes:
    return body(generationConfig=members)


def parts(*found: Any) -> bytes:
    return body(contents=[{"parts": list(found)}])


def read(raw: bytes) -> Head:
    return read_head(raw, ASKED)


def refusal(raw: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        read(raw)
    assert caught.value.kind is Kind.BAD_REQUEST
    assert caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (body(contents=[]), "contents"), (body(contents=None), "contents"), (body(contents="Hi"), "contents"),
        (b"{}", "contents"), (body(contents=[{"parts": []}]), "contents[0].parts"),
        (body(contents=[{"role": "user"}]), "contents[0].parts"),
        (body(contents=[{"role": "wizard", "parts": [{"text": "Hi"}]}]), "contents[0].role"),
        (body(contents=[{"role": "system", "parts": [{"text": "Hi"}]}]), "contents[0].role"),
        (parts({"text": 7}), "contents[0].parts[0].text"), (parts({}), "contents[0].parts[0]"),
        (parts({"text": "a"}, {"thought": True}), "contents[0].parts[1]"),
        (parts({"text": None}), "contents[0].parts[0]"),
        (parts({"inlineData": {"mimeType": "image/png"}}), "contents[0].parts[0].inlineData.data"),
        (parts({"functionCall": {"args": {}}}), "contents[0].parts[0].functionCall.name"),
        (parts({"functionCall": {"name": "f", "args": []}}), "contents[0].parts[0].functionCall.args"),
        (parts({"functionCall": {"name": "f", "args": "{}"}}), "contents[0].parts[0].functionCall.args"),
        (parts({"functionResponse": {"name": "f", "response": {}}}), "contents[0].parts[0].functionResponse"),
        (body(systemInstruction="Be brief"), "systemInstruction"),
        (settings(temperature=2.1), "generationConfig.temperature"), (settings(topP=-1), "generationConfig.topP"),
        (settings(topK=-1), "generationConfig.topK"), (settings(candidateCount=0), "generationConfig.candidateCount"),
        (settings(candidateCount=9), "generationConfig.candidateCount"),
        (settings(maxOutputTokens=0), "generationConfig.maxOutputTokens"),
        (settings(maxOutputTokens="5"), "generationConfig.maxOutputTokens"),
        (settings(stopSequences=["a"] * 6), "generationConfig.stopSequences"),
        (settings(seed=2**31), "generationConfig.seed"), (settings(logprobs=21), "generationConfig.logprobs"),
        (settings(presencePenalty=3), "generationConfig.presencePenalty"),
        (settings(thinkingConfig={"thinkingBudget": -2}), "generationConfig.thinkingConfig.thinkingBudget"),
        (settings(responseSchema={}), "generationConfig.responseMimeType"),
        (settings(responseSchema={}, responseJsonSchema={}), "generationConfig.responseJsonSchema"),
        (body(tools=[{"functionDeclarations": [{}]}]), "tools[0].functionDeclarations[0].name"),
        (body(tools=[{"functionDeclarations": [{"name": "f", "parameters": {}, "parametersJsonSchema": {}}]}]),
         "tools[0].functionDeclarations[0].parametersJsonSchema"),
        (body(tools="none"), "tools"),
        (body(toolConfig={"functionCallingConfig": []}), "toolConfig.functionCallingConfig"),
        (body(models=["a", "b", "c", "d"]), "models"), (body(session_id="s" * 257), "session_id"),
        (body(serviceTier="priority"), "serviceTier"), (body(service_tier="flex"), "serviceTier"),
        (body(generationConfig={}, generation_config={}), "generationConfig"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(raw: bytes, param: str) -> None:
    fault = refusal(raw)
    assert fault.param == param
    assert param.rpartition(".")[2].split("[", maxsplit=1)[0] in fault.message


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"null", b"[]", b'"text"', b"{}x", b"\xff\xfe{}", b'{"contents":[{"parts":[{"text":"\xff"}]}]}',
        b'{"temperature":Infinity}', b"[" * 200_000, b'{"contents":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        body(labels=json.loads("[" * 101 + "]" * 101)), b'{"inline_data":1e400}',
        b'{"contents":[{"parts":[{"x":1e400}]}]}',
    ],
    ids=lambda raw: raw[:24].decode("latin-1"),
)  # fmt: skip
def test_what_is_no_body_is_refused(raw: bytes) -> None:
    refusal(raw)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_reader(raw: bytes) -> None:
    with suppress(Fault):  # Whatever else it raises is the failure.
        read(raw)


@given(
    st.dictionaries(
        st.sampled_from(
            ["contents", "tools", "toolConfig", "generation_config", "systemInstruction", "models"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["parts", "text", "name", "inline_data", "role"]), inner, max_size=3
                )
            ),
            max_leaves=6,
        ),
    )
)
def test_no_members_at_all_break_the_reader(members: dict[str, Any]) -> None:
    with suppress(Fault):
        read(json.dumps({"contents": CONTENTS, **members}).encode())


def test_a_head_says_what_the_gateway_must_know() -> None:
    head = read_head(
        body(
            model="models/another", systemInstruction={"parts": [{"text": "Be brief."}]}, session_id="s",
            models=["b"],
            generationConfig={"maxOutputTokens": 5, "candidateCount": 2, "topK": 40.0}, cache=True,
        ),
        Asked(model="acme/one", stream=True, array=True),
    )  # fmt: skip
    assert (head.model, head.stream, head.array, head.output_limit, head.choices) == (
        "acme/one",
        True,
        True,
        5,
        2,
    )
    assert (head.session, head.fallback_models, head.has_system, head.cache) == ("s", ("b",), True, True)
    assert head.wants_usage
    assert not head.sealed
    assert not read(body(systemInstruction={"parts": []})).has_system
    assert read(body(character_id=7)).dropped == ("character_id",)


def test_a_model_has_a_name_of_sensible_length() -> None:
    for name in ("", "m" * 257):
        with pytest.raises(Fault) as caught:
            read_head(body(), Asked(model=name, stream=False))
        assert caught.value.param == "model"


def test_a_seal_in_a_body_is_noticed_in_either_alphabet() -> None:
    sealed = seal("sig?>~", "anthropic")
    for text in (sealed, sealed.replace("+", "-").replace("/", "_")):
        assert read(parts({"text": "x", "thought": True, "thoughtSignature": text})).sealed


# --- Spellings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snake", SNAKES)
def test_both_spellings_of_a_name_are_one(snake: str) -> None:
    assert json.loads(respelled(json.dumps({"a": [{snake: 1}]}).encode())) == {"a": [{SNAKES[snake]: 1}]}


@pytest.mark.parametrize("name", ["args", "response", "parameters", "responseJsonSchema", "labels"])
def test_names_that_are_the_callers_own_are_left_alone(name: str) -> None:
    raw = json.dumps({name: {"inline_data": 1, "mime_type": {"file_uri": 2}}, "mime_type": 3}).encode()
    assert json.loads(respelled(raw)) == {name: json.loads(raw)[name], "mimeType": 3}


def test_a_body_without_the_second_spelling_is_not_touched() -> None:
    raw = b'{"contents" : [ {"parts":[{"text":"inline_data \\u00e9"}]} ]}'
    assert respelled(raw) is raw


@pytest.mark.parametrize(
    "name", ["cached_content", "cached\\u005fcontent", "cached\\u0043ontent", "cachedContent"]
)
def test_no_spelling_hides_a_refused_member(name: str) -> None:
    assert refusal(
        b'{"contents":[{"parts":[{"text":"Hi"}]}],"%b":"cachedContents/1"}' % name.encode()
    ).param == ("cachedContent")


# --- What never passes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_state_at_the_provider_is_refused_by_name(name: str) -> None:
    assert refusal(body(**{name: "x"})).param == name
    assert read(parts({"text": f'"{name}"'})).model, "a text may say so"


@pytest.mark.parametrize("name", REFUSED_SETTINGS)
def test_costly_settings_are_refused_by_name(name: str) -> None:
    assert refusal(settings(**{name: {}})).param == f"generationConfig.{name}"
    assert read(settings(**{name: None})).model


@pytest.mark.parametrize("name", [*HOSTED_TOOLS, "somethingNew"])
@pytest.mark.parametrize(
    "spelled", [str, lambda name: {new: old for old, new in SNAKES.items()}.get(name, name)]
)
def test_tools_that_run_at_the_provider_are_refused_by_name(name: str, spelled: Any) -> None:
    fault = refusal(body(tools=[{"functionDeclarations": [{"name": "f"}]}, {spelled(name): {}}]))
    assert fault.param == f"tools[1].{name}"
    assert refusal(body(tools={spelled(name): {}})).param == f"tools[0].{name}"


@pytest.mark.parametrize("modality", ["IMAGE", "AUDIO", "image"])
def test_answers_in_other_media_are_refused(modality: str) -> None:
    assert (
        refusal(settings(responseModalities=["TEXT", modality])).param
        == "generationConfig.responseModalities"
    )
    assert read(settings(responseModalities=["TEXT"])).model


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("https://a.example/x.png", True), ("http://a.example:8080/x", True),
        ("https://www.youtube.com/watch?v=1", True), ("https://storage.googleapis.com/bucket/x.pdf", True),
        ("https://generativelanguage.googleapis.com/v1beta/files/abc", False), ("gs://bucket/x", False),
        ("https://GenerativeLanguage.GoogleAPIs.com/v1beta/files/abc", False), ("files/abc", False), ("", False),
        ("https://x@aiplatform.googleapis.com/x", False), ("file:///etc/passwd", False), ("https://", False),
        ("https://[", False), ("https://googleapis.com.a.example/x", True), ("https://googleapis.com/x", False),
    ],
)  # fmt: skip
def test_only_addresses_of_the_open_web_pass(uri: str, public: bool) -> None:
    assert is_public(uri) is public
    file = {"fileData": {"fileUri": uri}}
    called = {"functionCall": {"name": "f"}}
    shown = {"functionResponse": {"name": "f", "response": {}, "parts": [{"file_data": {"file_uri": uri}}]}}
    for raw, path in (
        (parts(file), "contents[0].parts[0].fileData.fileUri"),
        (parts(called, shown), "contents[0].parts[1].functionResponse.parts[0].fileData.fileUri"),
        (body(systemInstruction={"parts": file}), "systemInstruction.parts[0].fileData.fileUri"),
    ):
        if public:
            assert read(raw).model
        else:
            assert refusal(raw).param == path


def test_every_rule_is_proved_above_or_here() -> None:
    told = {rule.name.strip("`") for rule in RULES}
    proved = {*REFUSED, *(f"generationConfig.{name}" for name in REFUSED_SETTINGS)}
    proved |= {f"tools[].{name}" for name in HOSTED_TOOLS}
    assert told - proved == {
        "any other tool than `functionDeclarations", "generationConfig.responseModalities` beyond `TEXT",
        "serviceTier` beyond `standard", "serviceTier", "model", "fileData.fileUri` that is no public web address",
        "store",
    }  # fmt: skip


# --- The way to a provider --------------------------------------------------------------------------------------


def relayed(raw: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(write_relayed(raw, "theirs", read(raw)))
    return told


def test_a_body_travels_as_it_was_but_for_the_declared_members() -> None:
    members = {
        "generation_config": {"temperature": 0.30000000000000004},
        "x_unknown": {"a": [1, {"id": None}]},
    }
    raw = body(**members, model="models/another", service_tier="standard")
    assert relayed(raw) == {"contents": CONTENTS, **members}
    assert b"0.30000000000000004" in write_relayed(raw, "theirs", read(raw))


@pytest.mark.parametrize("name", sorted(OWN - {"models", "session_id", "cache", "no_cache", "character_id"}))
def test_what_is_ours_stays_here(name: str) -> None:
    assert name not in relayed(body(**{name: {"x": 1}}))


def test_nothing_is_kept_at_the_provider() -> None:
    assert relayed(body(store=True))["store"] is False
    assert "store" not in relayed(body())


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/models/gemini-2.5-flash"), ("models/gemini-2.5-flash", "/models/gemini-2.5-flash"),
        ("tunedModels/ours", "/tunedModels/ours"), ("a b?c#d\r\ne", "/models/a%20b%3Fc%23d%0D%0Ae"),
    ],
)  # fmt: skip
def test_the_path_says_model_and_form_and_is_a_target_that_may_go_out(model: str, path: str) -> None:
    dialect = Gemini()
    assert dialect.path(model, stream=False) == f"{path}:generateContent"
    assert dialect.path(model, stream=True) == f"{path}:streamGenerateContent?alt=sse"
    assert check_target(f"/v1beta{dialect.path(model, stream=True)}")


# --- Counting ---------------------------------------------------------------------------------------------------


def counted(**members: Any) -> Any:
    return json.loads(write_count(json.dumps(members).encode(), "theirs"))


def test_contents_alone_are_counted_as_they_are() -> None:
    assert counted(contents=CONTENTS, model="models/x", session_id="s") == {"contents": CONTENTS}


def test_what_stands_beside_contents_is_counted_as_a_request() -> None:
    system = {"parts": [{"text": "Be brief."}]}
    whole = {
        "generateContentRequest": {
            "model": "models/theirs",
            "contents": CONTENTS,
            "systemInstruction": system,
        }
    }
    assert counted(contents=CONTENTS, system_instruction=system) == whole
    inside = {
        "model": "models/mine",
        "contents": CONTENTS,
        "systemInstruction": system,
        "cache": True,
        "store": True,
    }
    assert counted(generateContentRequest=inside) == whole
    assert counted(generate_content_request=inside) == whole


def test_a_count_is_read_and_told() -> None:
    assert read_count(b'{"totalTokens": 31, "promptTokensDetails": []}') == 31
    assert read_count(b"{}") == 0
    for strange in (b"", b"[]", b'{"totalTokens": -1}', b'{"totalTokens": "x"}', b"\xff"):
        assert read_count(strange) is None
    assert json.loads(write_counted(31)) == {"totalTokens": 31}
