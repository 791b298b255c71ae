"""The generated parts of the documentation: tables made from the product's own, so that no page can fall behind.

A part stands between two comments, `begin: NAME` and `end`. `make docs` writes all of them anew; a test fails where a
part on a page is not what would be written.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

from prometheus_client.core import Metric

from farebox.accounts.plans import BUILT_IN, DEFAULT_PLAN
from farebox.api import http, once
from farebox.api.http import Answering, Server
from farebox.api.metrics import Metrics
from farebox.api.observe import LOG_BYTES_MAX, Observer
from farebox.api.wallet_history import AT_ONCE
from farebox.app import bookkeeping, paperwork, paying, price_desk, worker
from farebox.billing import wallet
from farebox.cli.main import build_app
from farebox.config.settings import Server as ServerSettings
from farebox.dialects import DIALECTS, schema_table
from farebox.dialects.effort import BUDGETS
from farebox.dialects.nesting import DEPTH_MAX
from farebox.dialects.openai_chat.head import REFUSED
from farebox.dialects.own import OWN
from farebox.dialects.sse import EVENT_BYTES_MAX
from farebox.features.idempotency.reply import REPLY_BYTES_MAX
from farebox.features.stored_responses import feature
from farebox.gateway import send
from farebox.gateway.profiles import PROFILES, CodeStyle
from farebox.ledger.check import RULES
from farebox.providers.http1.pool import PoolLimits
from farebox.providers.quirks import QUIRKS
from farebox.providers.rows import load_providers
from farebox.providers.sandbox.tricks import TRICKS
from farebox.store import writer
from tests.docs.pages import ROOT, pages
from tests.grid import cells

_PART = re.compile(r"(<!-- begin: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_WIDTH = 120
_KIB, _MIB = 1 << 10, 1 << 20


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; `head` names the columns, divided by commas."""
    names = head.split(", ")
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def cli() -> str:
    """Every verb with its own help, as `--help` tells it."""
    whole = build_app().generate_docs(heading_level=1)
    verbs = whole[whole.index("\n## farebox up") + 1 :]
    lines = []
    # cyclopts puts the module that runs into the usage of a verb where Python was started with -m.
    for line in re.sub(r"^(farebox [a-z -]+?) -m \S+", r"\1", verbs, flags=re.MULTILINE).splitlines():
        indent = "  " if line.startswith("* ") else ""
        lines += textwrap.wrap(line, _WIDTH, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return "\n".join(lines).rstrip() + "\n"


def refused() -> str:
    """The members of a chat request that are refused by name."""
    return table("member, why", ((f"`{name}`", reason) for name, reason in REFUSED.items()))


def passing() -> str:
    """What never passes as it came, by dialect."""
    tables = [
        f"`{name}`\n\n"
        + table("what, verdict, why", ((_code(rule.name), rule.verdict, rule.why) for rule in dialect.rules))
        for name, dialect in DIALECTS.items()
    ]
    return "\n".join(tables)


def efforts() -> str:
    """Words for effort, and their budgets."""
    return table(
        "effort, budget of thinking in tokens", ((f"`{word}`", most) for word, most in BUDGETS.items())
    )


def own() -> str:
    """The members of a chat request that are the gateway's own."""
    text = f"These members are the gateway's own and never reach a provider: {_listed(sorted(OWN))}."
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False) + "\n"


def profiles() -> str:
    """The four public APIs as rows."""
    return table(
        "profile, base paths, `error.code`, reply names the model, list of models, asks more",
        (
            (
                f"`{profile.name}`",
                ", ".join(f"`{base}`" for base in profile.bases),
                "the status, an integer" if profile.code_style is CodeStyle.STATUS else "a name, a string",
                "without its maker" if profile.bare_replies else "as asked",
                "bare ids, three members" if profile.bare_list else "full ids, with prices",
                "; ".join(
                    [
                        *(["a system or developer message"] if profile.needs_system else []),
                        *(f"a plan other than `{plan}`" for plan in sorted(profile.refused_plans)),
                    ]
                )
                or "nothing",
            )
            for profile in PROFILES.values()
        ),
    )


def tricks() -> str:
    """The magic prompts of the sandbox."""
    return table("prompt, what happens", ((f"`sandbox:{name}`", text) for name, text in TRICKS.items()))


def plans() -> str:
    """The built-in plans."""
    return table(
        "plan, chat calls a minute, image calls a minute",
        (
            (
                f"`{plan.name}`" + (" (the default)" if plan.name == DEFAULT_PLAN else ""),
                plan.chat_rpm,
                plan.image_rpm,
            )
            for plan in BUILT_IN
        ),
    )


def providers() -> str:
    """The providers this release knows, by the variable that holds a key."""
    return table(
        "name, key variable, base URL",
        (
            (f"`{row.name}`", f"`{row.key_variable}`", f"`{row.base_url}`")
            for row in load_providers()
            if row.key_variable
        ),
    )


def engines() -> str:
    """The local engines a start without a file looks for."""
    return table(
        "name, port on 127.0.0.1", ((f"`{row.name}`", row.port) for row in load_providers() if row.local)
    )


def rows() -> str:
    """What this release knows of each provider beside its address and key."""
    return table(
        "name, dialect, key goes into, hanging up ends its bill, keeps what is marked, quirks",
        (
            (
                f"`{row.name}`",
                f"`{row.dialect}`",
                f"`{row.auth_header or DIALECTS[row.dialect].auth_header}`" if row.key_variable else "none",
                "yes" if row.cancel_stops_billing else "no",
                "yes" if row.takes_marks else "no",
                "; ".join(
                    f"`{quirk.name}`" + ("" if quirk.models == ("*",) else f" for {_listed(quirk.models)}")
                    for quirk in row.quirks
                )
                or "none",
            )
            for row in load_providers()
        ),
    )


def quirks() -> str:
    """Every quirk in its own words."""
    told = [(name, quirk, inspect.getdoc(quirk.change) or "") for name, quirk in QUIRKS.items()]
    return table(
        "quirk, for whom, what, source",
        (
            (
                f"`{name}`",
                "callers of other dialects" if quirk.abroad else "everybody",
                " ".join(text.partition("Source:")[0].split()),
                " ".join(text.partition("Source:")[2].split()),
            )
            for name, quirk, text in told
        ),
    )


def schemas() -> str:
    """What becomes of each keyword of JSON Schema."""
    return table(
        f"keyword, {', '.join(schema_table.TARGETS)}, how",
        (
            (f"`{row.name}`", *row.verdicts, row.how or "as it is, or in words")
            for row in schema_table.KEYWORDS.values()
        ),
    )


def formats() -> str:
    """The formats each target knows."""
    return table(
        "target, type, formats that are kept",
        (
            (target, kind, _listed(sorted(known)))
            for target, kinds in schema_table.FORMATS.items()
            for kind, known in kinds.items()
        ),
    )


def metrics() -> str:
    """Every metric, with its own words."""
    server = Server(cast("Answering", None), body_limit=1)
    collector = Metrics(server, Observer(None), wallet.Counts(), writer.Counts(), access="open")
    return table(
        "metric, kind, what",
        ((f"`{_exposed(one)}`", one.type, one.documentation) for one in collector.collect()),
    )


def rules() -> str:
    """What the check of the books checks."""
    return "".join(f"- {rule[0].upper()}{rule[1:]}.\n" for rule in RULES)


def limits() -> str:
    """The bounds of the way in and of the way out."""
    pool, server = PoolLimits(), ServerSettings()
    rows: list[tuple[str, str, str]] = [
        ("address of a request", _size(http.TARGET_BYTES_MAX), "414"),
        (
            "headers of a request",
            f"{_size(http.HEADER_BYTES_MAX)}, {http.HEADER_COUNT_MAX} of them",
            "431",
        ),
        ("body of a request", f"`[server] body_limit_mb`, {server.body_limit_mb} MiB", "413"),
        ("body that is read before the key is known to be good", _size(http.GATED_BYTES), "401 at once"),
        ("depth of JSON", f"{DEPTH_MAX} levels", "400"),
        ("time for the head of a request", _seconds(http.HEAD_WAIT_S), "the connection closes"),
        ("time for a large body", _seconds(http.BODY_WAIT_S), "the connection closes"),
        ("unused connection", _seconds(http.IDLE_WAIT_S), "the connection closes"),
        ("caller who does not read", _seconds(http.WRITE_WAIT_S), "taken for gone"),
        ("connections of a worker", f"{http.CONNECTIONS_MAX:,}", "the connection closes"),
        ("calls of a worker at once", f"`[server] max_in_flight`, {server.max_in_flight:,}", "503"),
        ("requests that wait on one connection", str(http.WAITING_MAX), "reading pauses"),
        ("tries at providers for one call", str(send.TRIES_MAX), "the last fault"),
        ("one event of a provider's stream", _size(EVENT_BYTES_MAX), "502"),
        ("a provider's plain reply", _size(send.REPLY_BYTES_MAX), "502"),
        ("connections to one provider", f"{pool.open:,}, unused {pool.idle}", "503"),
        ("unused connection to a provider", _seconds(pool.idle_s), "the connection closes"),
        ("operations in one commit", str(writer.BATCH_MAX), "the next commit"),
        ("operations that wait for a commit", f"{writer.QUEUE_MAX:,}", "503"),
        ("an answer's end waits for its commit", _seconds(wallet.SETTLE_WAIT_S), "503"),
        ("file of the access log", _size(LOG_BYTES_MAX), "put aside as `.1`"),
        ("items of a conversation by `previous_response_id`", f"{feature.ITEMS_MAX:,}", "400"),
        (
            "input and reply of a stored response",
            f"{_size(feature.KEPT_BYTES_MAX)}, or `body_limit_mb` if that is less",
            "not stored",
        ),
        ("an answer's end waits to be stored", _seconds(feature.KEEP_WAIT_S), "it leaves"),
        ("reply that is kept for an `idempotency-key`", _size(REPLY_BYTES_MAX), "409 on a repeat"),
        ("a repeat waits for the first", _seconds(once.PATIENCE_S), "409"),
        ("repeats that wait on a worker", f"{once.WAITING_MAX:,}", "409"),
        (
            "statements, pages of transfers and PDF that a worker makes at once",
            str(AT_ONCE),
            "the next waits",
        ),
    ]
    return table("what, at most, beyond it", rows)


def duties() -> str:
    """What a worker does beside answering calls."""
    return table(
        "duty, every",
        (
            ("follow changes of keys and accounts", _seconds(worker.FOLLOW_S)),
            ("void the holds of owners that died", _seconds(worker.SWEEP_S)),
            ("write the access log", _seconds(worker.FLUSH_S)),
            ("copy the database's log into its file", _seconds(worker.CHECKPOINT_S)),
            ("note when keys were last used", _seconds(worker.NOTE_USE_S)),
            ("check the books", _seconds(bookkeeping.CHECK_S)),
            ("forget stored responses past their days", _seconds(worker.FORGET_S)),
            ("make invoices and credit notes that are missing", _seconds(paperwork.ISSUE_S)),
            ("ask processors about payments that wait", _seconds(paying.RESOLVE_S)),
            ("buy for wallets that run low", _seconds(paying.AUTO_S)),
            ("work out prices ahead", _seconds(price_desk.PLAN_S)),
            ("put prices in force that are due", _seconds(price_desk.ADVANCE_S)),
            ("tell customers of dearer prices", _seconds(price_desk.ANNOUNCE_S)),
            ("forget idempotency keys past their hours", _seconds(worker.FORGET_S)),
        ),
    )


def grid() -> str:
    """Every caller with every provider: what passes plain and streamed, and why the rest cannot."""
    told = table(", ".join(("caller", "provider", *cells.COLUMNS)), cells.rows())
    reasons = (
        textwrap.fill(f"{number}. {why}", _WIDTH, subsequent_indent="   ") for number, why in cells.notes()
    )
    return f"{cells.summary()}\n\n{told}\n{chr(10).join(reasons)}\n"


PARTS: Mapping[str, Callable[[], str]] = {
    part.__name__: part
    for part in (
        *(
            cli,
            refused,
            own,
            passing,
            efforts,
            profiles,
            tricks,
            plans,
            providers,
            engines,
            rows,
            quirks,
            schemas,
            formats,
            metrics,
            rules,
            limits,
            duties,
            grid,
        ),
    )
}


def renewed(text: str) -> str:
    """A page with every part as it should be. KeyError names a part that there is not."""
    return _PART.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n{match[3]}", text)


def parts_of(text: str) -> list[str]:
    """The names of the parts on a page."""
    return [match[2] for match in _PART.finditer(text)]


def _exposed(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _code(name: str) -> str:
    """A bare name as code; a description of several stays as it is."""
    return f"`{name}`" if re.fullmatch(r"\S+", name) and "`" not in name else name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _size(size: int) -> str:
    return f"{size // _MIB} MiB" if size >= _MIB else f"{size // _KIB} KiB"


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"


def write(root: Path) -> int:
    """Write every part anew; how many pages changed."""
    changed = {name: new for name, text in pages().items() if (new := renewed(text)) != text}
    for name, text in changed.items():
        (root / name).write_text(text, "utf-8")
        print(f"wrote {name}")
    return len(changed)


if __name__ == "__main__":
    write(ROOT)
    sys.exit(0)
