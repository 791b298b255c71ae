"""The sandbox: a provider inside the process, so that everything can be tried without a key and tested by card.

How it works. `request` reads the body as strictly as a provider would; `tricks` takes the magic prompts out of the last
user message; `answer` decides what is said, with `text`, `tools` and `schema` as its pens and `tokens` as its measure;
`wire` writes the answer, whole or in chunks, from the same values; `upstream` is the port: it plays the pieces with
their pauses and breaks. Nothing looks at a clock, at randomness or at `hash()`: the same request gives the same bytes,
in every process and on every machine.
"""
