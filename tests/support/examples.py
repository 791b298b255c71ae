"""The chat examples of the four public APIs we serve, as their documents print them.

Only the host and the key are replaced when they run; the rest is what their users copy.
"""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """One example: whose, in which language, and what in it is replaced."""

    profile: str
    language: str  # curl, python or node
    host: str
    key: str
    text: str

    def on(self, host: str, key: str) -> str:
        """The example with its host and its key changed."""
        assert self.host in self.text
        assert self.key in self.text
        return self.text.replace(self.host, host).replace(self.key, key)

    @property
    def id(self) -> str:
        return f"{self.profile}-{self.language}"


_AICREDITS = ("https://api.aicredits.in", "sk-your-key-here")
_CONSOLE = ("https://your-domain.com", "YOUR_API_KEY")
_SERIKA = ("https://api.serika.dev", "your_api_key")
_OPENSERV = ("https://inference-api.openserv.ai", "$SERV_API_KEY")

EXAMPLES = (
    Example(
        "standard",
        "curl",
        *_AICREDITS,
        """\
curl https://api.aicredits.in/v1/chat/completions \\
  -H "Authorization: Bearer sk-your-key-here" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "openai/gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
""",
    ),
    Example(
        "standard",
        "python",
        *_AICREDITS,
        """\
from openai import OpenAI

client = OpenAI(
    base_url="https://api.aicredits.in/v1",
    api_key="sk-your-key-here",
)

response = client.chat.completions.create(
    model="openai/gpt-4o-mini",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello!"},
    ],
)

print(response.choices[0].message.content)
""",
    ),
    Example(
        "standard",
        "node",
        *_AICREDITS,
        """\
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "https://api.aicredits.in/v1",
  apiKey: "sk-your-key-here",
});

const response = await client.chat.completions.create({
  model: "openai/gpt-4o-mini",
  messages: [{ role: "user", content: "Hello!" }],
});

console.log(response.choices[0].message.content);
""",
    ),
    Example(
        "console",
        "curl",
        *_CONSOLE,
        """\
curl https://your-domain.com/api/v1/chat/completions \\
-H "Content-Type: application/json" \\
-H "Authorization: Bearer YOUR_API_KEY" \\
-d '{
"model": "gpt-4o",
"messages": [
{ "role": "system", "content": "You are a helpful assistant." },
{ "role": "user", "content": "What is the capital of France?" }
],
"temperature": 0.7,
"max_tokens": 512,
"stream": false
}'
""",
    ),
    Example(
        "console",
        "python",
        *_CONSOLE,
        """\
import openai
client = openai.OpenAI(
api_key="YOUR_API_KEY",
base_url="https://your-domain.com/api/v1",
)
response = client.chat.completions.create(
model="gpt-4o",
messages=[
{"role": "system", "content": "You are a helpful assistant."},
{"role": "user", "content": "What is the capital of France?"},
],
temperature=0.7,
max_tokens=512,
)
print(response.choices[0].message.content)
""",
    ),
    Example(
        "console",
        "node",
        *_CONSOLE,
        """\
import OpenAI from "openai";
const client = new OpenAI({
apiKey: "YOUR_API_KEY",
baseURL: "https://your-domain.com/api/v1",
});
const response = await client.chat.completions.create({
model: "gpt-4o",
messages: [
{ role: "system", content: "You are a helpful assistant." },
{ role: "user", content: "What is the capital of France?" },
],
temperature: 0.7,
max_tokens: 512,
});
console.log(response.choices[0].message.content);
""",
    ),
    Example(
        "serika",
        "curl",
        *_SERIKA,
        """\
curl https://api.serika.dev/api/openai/v1/chat/completions \\
-H "Content-Type: application/json" \\
-H "Authorization: Bearer your_api_key" \\
-d '{
"model": "openai/gpt-4o-mini",
"messages": [{"role": "user", "content": "What is the capital of France?"}]
}'
""",
    ),
    Example(
        "serika",
        "python",
        *_SERIKA,
        """\
from openai import OpenAI
client = OpenAI(
base_url="https://api.serika.dev/api/openai/v1",
api_key="your_api_key"
)
response = client.chat.completions.create(
model="openai/gpt-4o-mini",
messages=[
{"role": "system", "content": "You are a helpful assistant."},
{"role": "user", "content": "What is the capital of France?"}
]
)
print(response.choices[0].message.content)
""",
    ),
    Example(
        "serika",
        "node",
        *_SERIKA,
        """\
import OpenAI from 'openai';
const client = new OpenAI({
baseURL: 'https://api.serika.dev/api/openai/v1',
apiKey: 'your_api_key',
});
async function main() {
const chatCompletion = await client.chat.completions.create({
messages: [{ role: 'user', content: 'What is the capital of France?' }],
model: 'openai/gpt-4o-mini',
});
console.log(chatCompletion.choices[0].message.content);
}
main();
""",
    ),
    Example(
        "openserv",
        "curl",
        *_OPENSERV,
        """\
curl https://inference-api.openserv.ai/v1/chat/completions \\
  -H "Authorization: Bearer $SERV_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "gpt-5.4-mini",
    "messages": [
      {"role": "system", "content": "You are a concise assistant."},
      {"role": "user", "content": "Hello!"}
    ]
  }'
""",
    ),
)
