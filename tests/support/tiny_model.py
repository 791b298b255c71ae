"""A tiny language model with random weights, written from nothing: 64 dimensions, two layers, a few hundred words.

It says nonsense in real words, which is all that a test of a gateway needs from an engine, and it is written in a
fraction of a second, so that no test ever downloads one. Two things about it are not random:

- It stops. Each word gives the end mark a small and steady chance, so that an answer has some dozens of words.
- It calls tools. The chat template ends a prompt that offers tools with one special token, `<|act|>`. The first two
  dimensions of the model are switches that no layer writes to: `<|act|>` sets the first, every other token the second.
  The output row of `<tool_call>` reads nothing but them, and so becomes certain right after `<|act|>` and impossible
  anywhere else. From there the engine's own grammar makes a whole call of it: it learns from the template that a call
  begins with exactly that token, so nothing, not even a line break, may follow it there.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 64
HEADS = 4
LAYERS = 2
INNER = 128
CONTEXT = 8192
ACTING, SPEAKING = 0, 1  # The two switches.

WORDS = """a about account add after again all also always an and answer any are ask at away back balance be
because been before began begin best between bill both bring but buy by call came can carry change charge
clear close coin come cost could count credit customer day did do does done down each early end enough even
ever every exact fair fare few find first follow for found from full gate gave get give go good great had
half hand has have he hear help her here high him his hold home hour house how i if in into is it just keep
key kind know large last later learn leave left less let life light like line little live long look made
make many may me mean meter might mile more most much must my name near need never new next night no not
note now number of off often old on once one only open or order other our out over own page paid part pass
pay people place plan plain play point price provider put question quick rate read real receipt rest ride
right road round run said same saw say second see seem sell send set she short should show side simple since
small so some soon sound speak spend stand start state stay step still stop story such sure take talk tell
than that the their them then there these they thing think this those though thought three through ticket
time to together token told too took top toward train travel true try turn two under until up us use very
wait walk wallet want was watch water way we week well went were what when where which while who whole why
will wish with word work world would write year yes yet you your"""

TEMPLATE = """{%- if tools %}<|im_start|>system
You may call these functions:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
To call one, return a json object with its name and arguments within <tool_call></tool_call> XML tags:
<tool_call>{"name": <function-name>, "arguments": <args-json-object>}</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content or "" }}
{%- for call in (message.tool_calls or []) %}
<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if tools and messages[-1].role != "tool" %}<|act|>{% endif %}
{%- endif %}"""


class Token(NamedTuple):
    """One entry of the vocabulary, as a SentencePiece model has it."""

    text: str
    score: float
    kind: gguf.TokenType


def vocabulary() -> list[Token]:
    """Marks, then every byte, then single characters, then words; a higher score is merged sooner."""
    kind = gguf.TokenType
    tokens = [
        Token("<unk>", 0.0, kind.UNKNOWN),
        Token("<s>", 0.0, kind.CONTROL),
        Token("</s>", 0.0, kind.CONTROL),
    ]
    tokens += [Token(f"<0x{byte:02X}>", 0.0, kind.BYTE) for byte in range(256)]
    tokens += [Token(mark, 0.0, kind.CONTROL) for mark in ("<|im_start|>", "<|im_end|>", "<|act|>")]
    tokens += [Token(mark, 0.0, kind.USER_DEFINED) for mark in ("<tool_call>", "</tool_call>")]
    tokens += [Token(character, -1000.0, kind.NORMAL) for character in ["▁", *map(chr, range(33, 127))]]
    tokens += [
        Token(f"▁{word}", float(-rank), kind.NORMAL)
        for rank, word in enumerate(WORDS.split())
        if len(word) > 1
    ]
    return tokens


def write_tiny_model(path: Path, *, seed: int = 1) -> None:
    """Write the model as a GGUF file of about a megabyte; the same seed gives the same bytes."""
    tokens = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, tokens)
    for name, tensor in _tensors(tokens, np.random.default_rng(seed)):
        writer.add_tensor(name, tensor.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, tokens: list[Token]) -> None:
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(DIMENSIONS)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(DIMENSIONS // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.text for token in tokens])
    writer.add_token_scores([token.score for token in tokens])
    writer.add_token_types([token.kind for token in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def _tensors(tokens: list[Token], random: np.random.Generator) -> list[tuple[str, NDArray[np.float64]]]:
    texts = [token.text for token in tokens]
    inputs = random.standard_normal((len(texts), DIMENSIONS))
    inputs[:, (ACTING, SPEAKING)] = 0, 1
    inputs[texts.index("<|act|>")] = 0
    inputs[texts.index("<|act|>"), ACTING] = 50  # Drowns whatever the layers add, and the norm makes it 8.

    outputs = random.standard_normal((len(texts), DIMENSIONS)) * 0.3
    outputs[: texts.index("~") + 1] = (
        0  # Marks, bytes and characters: never impossible, hardly ever the choice.
    )
    outputs[:, (ACTING, SPEAKING)] = 0
    outputs[texts.index("</s>"), SPEAKING] = 4
    outputs[texts.index("<tool_call>"), (ACTING, SPEAKING)] = 8, -8

    ones = np.ones(DIMENSIONS)
    tensors = [("token_embd.weight", inputs), ("output.weight", outputs), ("output_norm.weight", ones)]
    for layer in (f"blk.{number}" for number in range(LAYERS)):
        tensors += [(f"{layer}.attn_norm.weight", ones), (f"{layer}.ffn_norm.weight", ones)]
        shapes = {f"attn_{part}": (DIMENSIONS, DIMENSIONS) for part in ("q", "k", "v", "output")}
        shapes |= {
            "ffn_gate": (INNER, DIMENSIONS),
            "ffn_up": (INNER, DIMENSIONS),
            "ffn_down": (DIMENSIONS, INNER),
        }
        for part, shape in shapes.items():
            weights = random.standard_normal(shape) * shape[1] ** -0.5
            if part in {"attn_output", "ffn_down"}:
                weights[(ACTING, SPEAKING), :] = (
                    0  # What flows back into the model leaves the switches alone.
                )
            tensors.append((f"{layer}.{part}.weight", weights))
    return tensors
