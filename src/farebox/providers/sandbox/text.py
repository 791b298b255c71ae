"""What the sandbox says in words: the same words to the same request, and honest about who is speaking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from farebox.providers.sandbox import tokens
from farebox.providers.sandbox.talk import Result, Talk

_ECHO_MAX = 160  # Characters of the user's words that come back.

# The questions that documentation asks, so that a pasted example gets the answer printed beside it.
_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        "explain quantum entanglement simply": (
            "Quantum entanglement is a phenomenon in which two particles share one state: measure one, and you know "
            "what the other will show, however far away it is. Like a pair of gloves in two boxes, except that "
            "which glove is where is decided only when you look."
        ),
        "ping": "pong",
        "say this is a test": "This is a test.",
        "tell me a joke": "Why did the token cross the gateway? To be counted on the other side.",
        "what is the capital of france": "The capital of France is Paris.",
        "what is the capital of germany": "The capital of Germany is Berlin.",
        "what is the capital of india": "The capital of India is New Delhi.",
        "what is the capital of japan": "The capital of Japan is Tokyo.",
        "write a long story": (
            "Once upon a time there was a small sandbox at the edge of a large network. Every day requests came by "
            "on their way to the great models, and every day the sandbox waved. One evening the bridge to the models "
            "was closed, and a young request stood before it, quite lost. “Come in,” said the sandbox. “I know no "
            "answers, but I know how an answer is made: word by word, with an end, and with a bill that is right.” "
            "So they practised all night. In the morning the bridge opened, the request went over without a stumble, "
            "and the model on the other side asked: “Who taught you to walk so well?” The request smiled and "
            "said: “Somebody who never pretended to be you.”"
        ),
    }
)
_GREETINGS = frozenset({"hello", "hello there", "hello world", "hey", "hi", "hi there", "namaste"})
_GREETING = "Hello! How can I help you today? This is the sandbox, so ask me anything: no model is behind it."

_OPENINGS = (
    "This is the sandbox speaking, so no model has read this.",
    "You have reached the sandbox: a small program answers here, not a model.",
    "The sandbox has your message, so everything on the way here works.",
    "Greetings from the sandbox, where the answers are made up and the plumbing is real.",
)
_CLOSINGS = (
    "Connect a provider and the same request gets a real answer.",
    "Once a provider is connected, nothing in your code has to change.",
    "Everything but the meaning is real: the stream, the tokens and the limits.",
    "Ask again and I will say the same, which is handy in a test.",
)
_FILLERS = (
    "The sandbox writes one sentence after another until it has written enough.",
    "None of them means much, but each of them is counted.",
    "A long answer is a good way to see a stream arrive.",
    "It is also a good way to see what happens when a reader leaves early.",
    "Somewhere a meter turns, four bytes to the token.",
    "A patient reader will notice that the sentences come back in another order.",
    "A test does not mind, and a budget should not either.",
    "When the limit comes, the answer stops where it stands.",
)
_THOUGHTS = (
    "The user wants an answer, and I am the sandbox, so I have a few sentences ready.",
    "There is no model here to ask, which makes this easy.",
    "I could say more, but a short answer is kinder.",
)
_EFFORTS: Mapping[str, int] = MappingProxyType(
    {"minimal": 1, "low": 1, "medium": 2}
)  # Any other: every thought.
_MEDIA: Mapping[str, str] = MappingProxyType(
    {"image_url": "image", "input_audio": "audio clip", "video_url": "video", "file": "file"}
)


def write_text(talk: Talk, choice: int) -> str:
    """The answer in words; each choice of several has its own."""
    if talk.results:
        return _about_results(talk.results)
    asked = talk.words.strip().rstrip("!?. ").casefold() if len(talk.words) <= _ECHO_MAX else ""
    if not talk.media and (asked in _GREETINGS or asked in _KNOWN):
        return _KNOWN.get(asked, _GREETING)
    seed = talk.seed + choice
    sentences = [_pick(_OPENINGS, seed)]
    if talk.media:
        sentences.append(_about_media(talk.media))
    if talk.words.strip():
        sentences.append(f"You wrote “{echo(talk.words)}”, and it arrived safely.")
    return " ".join([*sentences, _pick(_CLOSINGS, seed // len(_OPENINGS))])


def write_long(seed: int, length: int) -> str:
    """A text of exactly `length` tokens."""
    size = length * tokens.BYTES
    sentences: list[str] = []
    written = 0
    while written < size:
        seed = (seed * 1_103_515_245 + 12_345) % 2**31  # The linear congruence of the C standard's example.
        sentences.append(_pick(_FILLERS, seed >> 16))
        written += len(sentences[-1]) + 1
    return f"{' '.join(sentences)[: size - 1].rstrip()}."


def write_thought(effort: str) -> str:
    """What goes on before an answer; more of it with more effort."""
    return " ".join(_THOUGHTS[: _EFFORTS.get(effort, len(_THOUGHTS))])


def echo(words: str) -> str:
    """The beginning of what somebody said, on one line."""
    line = " ".join(words[: 4 * _ECHO_MAX].split())
    return line if len(line) <= _ECHO_MAX else f"{line[:_ECHO_MAX].rsplit(' ', 1)[0]}…"


def _pick(sentences: Sequence[str], seed: int) -> str:
    return sentences[seed % len(sentences)]


def _about_results(results: Sequence[Result]) -> str:
    told = " ".join(f"The tool {result.tool} answered: “{echo(result.text)}”." for result in results)
    return f"{told} That is all the sandbox makes of it."


def _about_media(media: Sequence[str]) -> str:
    counted = Counter(_MEDIA[kind] for kind in media)
    told = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counted.items()]
    return f"I see {' and '.join(told)}."
