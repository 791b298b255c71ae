"""The scenarios: what is said and answered in each column of the grid."""

from __future__ import annotations

import base64
import struct
import zlib

from tests.grid.facts import Call, Failure, Picture, Reply, Scenario, Schema, Tokens, Tool, Turn, Words


def _png() -> str:
    """One red pixel, as base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return base64.b64encode(image).decode()


WEATHER = Tool(
    "get_weather",
    "The weather in a city, some days from now",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Paris", "Oslo"], "description": "Where"},
            "days": {"type": "integer", "description": "How many days from now"},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    },
)
TIME = Tool(
    "get_time",
    "The time in a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
FARE: Schema = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "Oslo"]},
        "fares": {"type": "integer", "minimum": 1, "maximum": 9},
        "class": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["city", "fares", "class"],
    "additionalProperties": False,
}
_SKY = '{"sky":"sunny","degrees":21}'
_HOUR = "It is seven o'clock, and all is well."

TEXT = Scenario(
    "text",
    "[text] To Oslo, please, twice ☂",
    (Reply(Tokens(30, 12, 14), 'Zwei Fahrten nach Oslo kosten 7 €.\nBon voyage ☂ \\ "quoted"'),),
    history=(
        Turn("user", (Words("Hello there."),)),
        Turn("assistant", (Words("Hello! Where to?"),)),
    ),
    temperature=0.5,
)
TOOLS = Scenario(
    "tools",
    "[tools] What is the weather in Paris the day after tomorrow?",
    (
        Reply(Tokens(50, 12, 9), calls=(Call("get_weather", {"city": "Paris", "days": 2}),)),
        Reply(Tokens(70, 60, 8), "It will be sunny in Paris."),
    ),
    results=(_SKY,),
    tools=(WEATHER,),
    choice="required",
)
PARALLEL = Scenario(
    "parallel tools",
    "[parallel tools] What is the weather in Paris, and what is the time in Oslo? Do both at once.",
    (
        Reply(
            Tokens(80, 0, 21),
            "Let me look.",
            calls=(Call("get_weather", {"city": "Paris", "days": 1}), Call("get_time", {"city": "Oslo"})),
        ),
        Reply(Tokens(99, 80, 11), "Sunny in Paris, seven in Oslo."),
    ),
    results=(_SKY, _HOUR),
    tools=(WEATHER, TIME),
    choice="auto",
    parallel=True,
)
IMAGE = Scenario(
    "image",
    "[image] What is on these two tickets?",
    (Reply(Tokens(200, 0, 6), "A red square, twice."),),
    pictures=(Picture(data=_png()), Picture(url="https://pictures.example/ticket.png")),
)
SCHEMA = Scenario(
    "schema",
    "[schema] Two fares to Oslo, second class.",
    (Reply(Tokens(40, 0, 12), '{"city":"Oslo","fares":2,"class":2}'),),
    schema=FARE,
)
THINKING = Scenario(
    "thinking",
    "[thinking] Will it rain in Oslo tomorrow?",
    (
        Reply(
            Tokens(60, 12, 9, 25),
            calls=(Call("get_weather", {"city": "Oslo", "days": 1}),),
            thought="Tomorrow is one day from now.\nSo I ask for days = 1.",
        ),
        Reply(Tokens(90, 60, 5, 0), "It will not."),
    ),
    results=(_SKY,),
    tools=(WEATHER,),
    choice="auto",
    effort="medium",
    limit=40_000,
)
STOP = Scenario(
    "stop",
    "[stop] Say where the fare is paid.",
    (Reply(Tokens(25, 0, 4), "At th", stop_sequence="e"),),
    stop=("e",),
)
_BAD = "A fare cannot be shorter than its way."
ERRORS = tuple(
    Scenario(failure_name, f"[{failure_name}] Fail, please.", failure=failure)
    for failure_name, failure in (
        ("error 400", Failure(400, _BAD, 400)),
        ("error 429", Failure(429, "Too many tickets at once.", 503)),
        ("error 500", Failure(500, "The till is broken.", 502)),
        ("error in the middle", Failure(503, "The train has left.", 502, in_the_middle=True)),
    )
)
COLUMNS: dict[str, tuple[Scenario, ...]] = {
    "text": (TEXT,),
    "tools": (TOOLS,),
    "parallel tools": (PARALLEL,),
    "image": (IMAGE,),
    "schema": (SCHEMA,),
    "thinking": (THINKING,),
    "stop": (STOP,),
    "error": ERRORS,
}
SCENARIOS: dict[str, Scenario] = {one.name: one for column in COLUMNS.values() for one in column}
