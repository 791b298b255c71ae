"""The set-up page behind the one-time link: makes an administrator and shows its key once. Plain HTML, no script."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs

from farebox.accounts.administrators import link_is_good, use_link
from farebox.api.visit import Visit
from farebox.core.clock import Clock
from farebox.store.database import Database

_HTML = (
    b"content-type: text/html; charset=utf-8\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
    b"referrer-policy: no-referrer\r\nx-frame-options: DENY\r\n"
    b"content-security-policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    b" frame-ancestors 'none'\r\n"
)
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>Farebox: {title}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;"
    "padding:0 1rem;color-scheme:light dark}}code{{overflow-wrap:anywhere;display:block;padding:1rem;border:1px solid}}"
    "button{{font:inherit;padding:.5rem 1rem}}</style><h1>{title}</h1>{body}</html>"
)
_GONE = (
    "<p>This link was used, replaced or is older than a day. Make a new one on the server:</p>"
    "<code>farebox admin link</code>"
)


class Setup:
    """The two halves of the set-up: ask, then do."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def ask(self, visit: Visit) -> None:
        """`GET /setup?token=`: opening the link changes nothing yet, so that a preview of it does no harm."""
        token = visit.query("token") or ""
        with self._database.read() as view:
            good = link_is_good(view, token, self._clock.now_us())
        if not good:
            _show(visit, 410, "This link is no longer good", _GONE)
            return
        form = (
            f'<form method="post" action="/setup"><input type="hidden" name="token" value="{escape(token)}">'
            '<p><label>Your name <input name="name" required maxlength="100" autocomplete="name"></label></p>'
            "<p>You will get an administrator's key. It is shown once.</p>"
            "<button>Create the administrator</button></form>"
        )
        _show(visit, 200, "Create the administrator", form)

    async def make(self, visit: Visit) -> None:
        """`POST /setup`: the key, once."""
        form = parse_qs(visit.request.body[:4096].decode("utf-8", "replace"))
        token, name = form.get("token", [""])[0], form.get("name", [""])[0].strip()[:100]
        with self._database.transaction() as work:
            secret = use_link(work, token, name=name or "administrator", now_us=self._clock.now_us())
        if secret is None:
            _show(visit, 410, "This link is no longer good", _GONE)
        else:
            _show(
                visit,
                200,
                "You are the administrator",
                f"<p>Your key, shown only now:</p><code>{secret}</code>",
            )


def _show(visit: Visit, status: int, title: str, body: str) -> None:
    visit.exchange.answer(status, visit.headers + _HTML, _PAGE.format(title=title, body=body).encode())
