from __future__ import annotations

import pytest

from farebox.providers.model_names import dotted, human_name, kind_of, loose, pointed


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-mini", "GPT-4o Mini"),
        ("gpt-4o-2024-11-20", "GPT-4o (2024-11-20)"),
        ("gpt-5.4-mini", "GPT-5.4 Mini"),
        ("gpt-oss-120b", "GPT OSS 120B"),
        ("o3-mini", "o3 Mini"),
        ("dall-e-3", "DALL-E 3"),
        ("tts-1-hd", "TTS-1 HD"),
        ("whisper-1", "Whisper 1"),
        ("text-embedding-3-small", "Text Embedding 3 Small"),
        ("llama-3.3-70b-instruct", "Llama 3.3 70B Instruct"),
        ("deepseek_v3", "DeepSeek V3"),
        ("claude-haiku-4-5-20251001", "Claude Haiku 4 5 (2025-10-01)"),
    ],
)
def test_a_model_has_a_name_for_people(model: str, name: str) -> None:
    assert human_name(model) == name


def test_a_snapshot_is_called_as_its_model_with_the_date() -> None:
    assert human_name("claude-haiku-4-5-20251001", "Claude Haiku 4.5") == "Claude Haiku 4.5 (2025-10-01)"


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("openai/gpt-4o", "chat"),
        ("openai/gpt-4o-mini-tts", "speech"),
        ("openai/gpt-4o-transcribe", "transcription"),
        ("openai/gpt-image-1", "image"),
        ("google/gemini-2.5-flash-image", "image"),
        ("google/gemini-2.5-pro-preview-tts", "speech"),
        ("openai/text-embedding-3-small", "embedding"),
        ("groq/whisper-large-v3-turbo", "transcription"),
        ("voyageai/voyage-3.5", "embedding"),
        ("mistralai/voxtral-mini-2602", "transcription"),
        ("black-forest-labs/FLUX.1-dev", "image"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "image"),
    ],
)
def test_a_name_tells_the_kind(model: str, kind: str) -> None:
    assert kind_of(model) == kind


@pytest.mark.parametrize(
    ("model", "spelled"),
    [
        ("claude-sonnet-4-6", "claude-sonnet-4.6"),
        ("claude-3-5-haiku-latest", "claude-3.5-haiku"),
        ("claude-opus-4-0", "claude-opus-4"),
        ("claude-opus-5", "claude-opus-5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-20250514"),
        ("claude-3-haiku", "claude-3-haiku"),
    ],
)
def test_a_version_is_spelled_as_clients_do(model: str, spelled: str) -> None:
    assert dotted(model) == spelled


def test_spellings_of_one_model_are_alike() -> None:
    assert loose("Qwen/Qwen2.5-7B") == loose("qwen/qwen2-5-7b")
    assert pointed("deepseek-v3p2") == "deepseek-v3.2"
