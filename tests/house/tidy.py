"""The house rules that no linter knows, each a function from one source file to sentences about its sins.

A rule yields `(line, sentence)`; the sentence says what to write instead. `RULES` is the whole list: rules that hold
everywhere, and rules that hold for the product alone. `places` is for text of any kind. `test_tidy.py` applies them,
and plants a sin for each, so that a rule which cannot fail is itself a failure.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70  # A function fits a screen.
POSITIONAL_MAX = 6
PARAMETERS_MAX = 8  # Keyword-only ones included: they name themselves, so two more are bearable.
LINE_LENGTH_MAX = (
    120  # The formatter aims at less; this bounds the strings and comments that it leaves alone.
)

PRODUCT = "src/farebox/"
MONEY = ("src/farebox/ledger/", "src/farebox/billing/", "src/farebox/core/money.py")
# The last resorts: where an unknown failure must become an answer, a failed job or a log line.
BROAD_EXCEPTS = (
    "src/farebox/api/front.py",
    "src/farebox/features/jobs.py",
    "src/farebox/store/writer.py",
    "src/farebox/app/duties.py",
)
# (file, module imported inside a function): why it cannot stand at the top.
INNER_IMPORTS: dict[tuple[str, str], str] = {
    ("src/farebox/store/vault.py", "cryptography.hazmat.primitives.ciphers.aead"): (
        "6 MiB and up to 25 ms of a start, which a gateway that seals nothing need not spend"
    ),
    ("src/farebox/store/vault.py", "cryptography.exceptions"): "comes with the one above",
}
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"})
PROVIDERS = frozenset(
    {
        "openai",
        "anthropic",
        "gemini",
        "google",
        "vertex",
        "azure",
        "bedrock",
        "deepseek",
        "groq",
        "mistral",
        "xai",
    }
    | {"openrouter", "sarvam", "cohere", "together", "fireworks", "perplexity", "cerebras", "moonshot", "zai"}
    | {"ollama", "vllm", "lmstudio", "llamacpp", "sandbox"}
)


class Source(NamedTuple):
    """One Python file, parsed once and flattened once."""

    path: str  # From the repository's root, with slashes.
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]


class Ban(NamedTuple):
    """A dotted name, with everything below it, that only some files may use."""

    name: str
    instead: str
    allowed: tuple[str, ...] = ()  # How the path below the product's root may begin.


Sins = Iterator[tuple[int, str]]
Rule = Callable[[Source], Sins]

BANS = (
    Ban("time.time", "Clock.now_us()", ("core/clock",)),
    Ban("time.time_ns", "Clock.now_us()", ("core/clock",)),
    Ban("time.monotonic", "Clock.monotonic_s() or loop.time()", ("core/clock",)),
    Ban("time.perf_counter", "Clock.monotonic_s() or loop.time()", ("core/clock",)),
    Ban("datetime.datetime.now", "Clock.now_us()", ("core/clock",)),
    Ban("datetime.datetime.utcnow", "Clock.now_us()", ("core/clock",)),
    Ban("datetime.datetime.today", "Clock.now_us()", ("core/clock",)),
    Ban("datetime.date.today", "Clock.now_us()", ("core/clock",)),
    Ban("uuid", "Ids.new()", ("core/clock",)),
    Ban("random", "a number derived from the call's id, so that a test can choose it"),
    Ban("os.environ", "a field of Settings", ("config", "app", "cli")),
    Ban("os.getenv", "a field of Settings", ("config", "app", "cli")),
    Ban("builtins.print", "a log line, or text returned to cli", ("cli",)),
    Ban("json", "msgspec.json, which is ten times as fast and typed"),
    Ban("pydantic", "a frozen msgspec.Struct"),
)
MOCKS = Ban("unittest.mock", "a real part or its shipped stand-in; what must be patched lacks a seam")


def parse(path: str, text: str) -> Source:
    """Read one file's text into what the rules look at."""
    tree = ast.parse(text, path)
    return Source(path, text, tree, tuple(ast.walk(tree)))


def long_files(source: Source) -> Sins:
    """A file is one noun."""
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield lines, f"{lines} lines: split the file by noun, {FILE_LINES_MAX} are the most"


def long_lines(source: Source) -> Sins:
    """A line is read without scrolling."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if len(line) > LINE_LENGTH_MAX:
            yield number, f"{len(line)} characters: break the line, {LINE_LENGTH_MAX} are the most"


def long_functions(source: Source) -> Sins:
    """A function fits a screen."""
    for function in _functions(source):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            advice = f"move whole steps into functions of their own, {FUNCTION_LINES_MAX} are the most"
            yield function.lineno, f"{function.name} has {lines} lines: {advice}"


def many_parameters(source: Source) -> Sins:
    """Values that travel together are a struct."""
    for function in _functions(source):
        given = function.args
        positional = [one for one in given.posonlyargs + given.args if one.arg not in {"self", "cls"}]
        others = [*given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        if len(positional) > POSITIONAL_MAX:
            advice = f"gather them in a struct, {POSITIONAL_MAX} are the most"
            yield function.lineno, f"{function.name} takes {len(positional)} positional parameters: {advice}"
        if len(positional) + len(others) > PARAMETERS_MAX:
            advice = f"gather them in a struct, {PARAMETERS_MAX} are the most"
            yield (
                function.lineno,
                f"{function.name} takes {len(positional) + len(others)} parameters: {advice}",
            )


def globals_used(source: Source) -> Sins:
    """State belongs to an object that app builds."""
    for node in source.nodes:
        if isinstance(node, ast.Global):
            yield node.lineno, f"global {', '.join(node.names)}: keep it in an object that is passed on"


def broad_excepts(source: Source) -> Sins:
    """Only the last resorts may catch everything; cleaning up and raising again is not catching."""
    if source.path in BROAD_EXCEPTS:
        return
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler) and (node.type is None or _is_broad(node.type)):
            if not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None):
                yield (
                    node.lineno,
                    "broad except: name what you can handle, or end the handler with a bare raise",
                )
        elif (
            isinstance(node, ast.Call)
            and _last_name(node.func) == "suppress"
            and any(map(_is_broad, node.args))
        ):
            yield node.lineno, "suppress of everything: name what may be ignored"


def unfinished_words(source: Source) -> Sins:
    """Main is finished."""
    for match in re.finditer(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b", source.text):
        yield _line(source.text, match), f"{match[0]}: do it now, or leave it out and say so in the docs"


def bare_ignores(source: Source) -> Sins:
    """An ignore names its rule and its reason."""
    if "type: ignore" not in source.text and "noqa" not in source.text:
        return
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and re.search(r"#\s*(?:type: ignore|noqa)", token.string):
            rule = r"#\s*(?:type: ignore\[[\w, -]+\]|noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*)\s*(?:#|--)\s*\S.{2}"
            if re.search(rule, token.string) is None:
                yield (
                    token.start[0],
                    "an ignore without a rule and a reason: write `[rule]  # why` or `RULE -- why`",
                )


def mocks_used(source: Source) -> Sins:
    """Tests use real parts."""
    for line in sorted({line for line, name in _references(source) if _under(name, MOCKS.name)}):
        yield line, f"{MOCKS.name}: use {MOCKS.instead}"


def test_classes(source: Source) -> Sins:
    """A test is a plain function whose name is a sentence."""
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield node.lineno, f"class {node.name}: write plain functions, and fixtures for what they share"


def vague_names(source: Source) -> Sins:
    """A module is named by its noun."""
    for name in source.path.removesuffix(".py").split("/"):
        if name in VAGUE_NAMES:
            yield 1, f"a module named {name}: name it by the one noun it is about"


def missing_docstring(source: Source) -> Sins:
    """The first line of a module says what it is for."""
    if ast.get_docstring(source.tree) is None:
        yield 1, "no module docstring: say in the first line what the module is for"


def inner_imports(source: Source) -> Sins:
    """Imports stand at the top, where cycles show."""
    found = {inner for function in _functions(source) for inner in ast.walk(function)}
    for node in found:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or "."]
            for name in names:
                if (source.path, name) not in INNER_IMPORTS:
                    yield (
                        node.lineno,
                        f"import of {name} inside a function: move it to the top, or list it in tidy.py",
                    )


def banned_names(source: Source) -> Sins:
    """Time, ids, chance and settings come from where a test can set them."""
    below = source.path.removeprefix(PRODUCT)
    bans = [ban for ban in BANS if not below.startswith(ban.allowed)]
    found = {(line, ban) for line, name in _references(source) for ban in bans if _under(name, ban.name)}
    for line, ban in sorted(found):
        yield line, f"{ban.name.removeprefix('builtins.')}: use {ban.instead}"


def money_floats(source: Source) -> Sins:
    """No float comes near money; a named number of seconds is not near it, and joining paths is no division."""
    if not source.path.startswith(MONEY):
        return
    seconds = {_seconds(node) for node in source.nodes}
    for node in source.nodes:
        match node:
            case ast.Constant() if node in seconds:
                continue
            case ast.BinOp(left=left, op=ast.Div(), right=right) if _is_text(left) or _is_text(right):
                continue
            case ast.Constant(value=float()):
                yield (
                    node.lineno,
                    f"the float {ast.unparse(node)}: write nano-units, or a ratio of two integers",
                )
            case ast.Name(id="float"):
                yield node.lineno, "float: use int nano-units, and parse_nano() for text"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield (
                    node.lineno,
                    "`/` makes a float: use ceil_div(), `//` or divmod() (and joinpath() for a path)",
                )


def provider_names(source: Source) -> Sins:
    """Behaviour comes from a row of data, never from who the provider is."""
    if source.path.startswith(f"{PRODUCT}providers/"):
        return
    advice = "put what differs into the provider's row, and read that"
    for node in source.nodes:
        for text in _compared(node):
            if text.lower().strip("/:-_ ") in PROVIDERS:
                yield getattr(node, "lineno", 1), f"compares with the name {text!r}: {advice}"


EVERYWHERE: tuple[Rule, ...] = (
    long_files,
    long_lines,
    long_functions,
    many_parameters,
    globals_used,
    broad_excepts,
    unfinished_words,
    bare_ignores,
    mocks_used,
    test_classes,
    vague_names,
)
IN_THE_PRODUCT: tuple[Rule, ...] = (
    missing_docstring,
    inner_imports,
    banned_names,
    money_floats,
    provider_names,
)
RULES = (*EVERYWHERE, *IN_THE_PRODUCT)


def sins(source: Source) -> list[str]:
    """Everything wrong with one file, as `path:line: sentence`."""
    rules = RULES if source.path.startswith(PRODUCT) else EVERYWHERE
    return [f"{source.path}:{line}: {sentence}" for rule in rules for line, sentence in rule(source)]


PLACES = (
    (
        r"(?<![\w.~-])/(?:work|root|home/\w+|Users/\w+)/",
        "a path of one machine: write a relative path or a name",
    ),
    (
        r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com|crates\.io|proxy\.golang\.org)\b",
        "the host of a package registry: leave it to the installer's own settings",
    ),
)
LOCKED_PLACES = (
    (r"^.*https?://", "a download address in a lock: lock names, versions and hashes alone"),
    (r"^\s*--(?:extra-)?index-url", "an index in a lock: leave it to the installer's own settings"),
)
NPM_PLACES = (
    (r'"resolved"\s*:', "a download address in a lock: make it without `resolved`"),
    (r'"url"\s*:', "an address in a lock: npm notes donations, `python -m tests.node.lean` takes them out"),
)


def places(path: str, text: str) -> list[str]:
    """Addresses that hold on one machine alone, in a text file of any kind."""
    banned = list(PLACES)
    if re.fullmatch(r"requirements/.*\.txt", path):
        banned += LOCKED_PLACES
    if path.endswith("package-lock.json"):
        banned += NPM_PLACES
    return [
        f"{path}:{_line(text, match)}: {match[0].strip()}: {sentence}"
        for pattern, sentence in banned
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]


def _seconds(node: ast.AST) -> ast.expr | None:
    """The value that a node gives to a name which says that it counts seconds."""
    match node:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=value)
        ):
            return value if name.lower().endswith("_s") else None
    return None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _line(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start()) + 1


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_broad(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return any(map(_is_broad, node.elts))
    return _last_name(node) in {"Exception", "BaseException"}


def _under(name: str, banned: str) -> bool:
    return name == banned or name.startswith(f"{banned}.")


def _references(source: Source) -> Iterator[tuple[int, str]]:
    """Every name the file uses, by where it was imported from: `from os import environ as e; e` is `os.environ`."""
    origins: dict[str, str] = {}
    for node in source.nodes:
        for local, origin in _imported(node):
            origins[local] = origin
            yield getattr(node, "lineno", 1), origin
    for node in source.nodes:
        if isinstance(node, ast.Name | ast.Attribute):
            yield node.lineno, _dotted(node, origins)


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        for one in node.names:
            yield (one.asname, one.name) if one.asname else (one.name.split(".")[0],) * 2
            yield one.name, one.name  # `import a.b` binds `a`, and uses `a.b`.
    elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
        for one in node.names:
            yield one.asname or one.name, f"{node.module}.{one.name}"


def _dotted(node: ast.expr, origins: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, origins)}.{node.attr}"
    return origins.get(node.id, f"builtins.{node.id}") if isinstance(node, ast.Name) else ""


def _compared(node: ast.AST) -> Iterable[str]:
    """Texts that a node compares something with."""
    match node:
        case ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn(), *_]):
            return _texts([node.left, *node.comparators])
        case ast.Call(func=ast.Attribute(attr="startswith" | "endswith" | "removeprefix" | "partition")):
            return _texts(node.args)
        case ast.MatchValue():
            return _texts([node.value])
    return ()


def _texts(nodes: Iterable[ast.expr]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            yield from _texts(node.elts)
