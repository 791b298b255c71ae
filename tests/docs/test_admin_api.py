"""Each action of an operator has its section on its page, and each section its action."""

from __future__ import annotations

import re
from typing import cast

from farebox.api.admin.shop import Shop
from farebox.api.admin.table import admin_actions
from tests.docs.pages import headings, page


class _Shop:
    """Has every part one may ask for: the table names functions, and here nobody calls them."""

    def __getattr__(self, name: str) -> str:
        return name


def test_every_action_has_its_section_and_every_section_its_action() -> None:
    actions = {
        (action.method, f"/admin/v1/{action.path.replace('...', '')}")
        for action in admin_actions(cast("Shop", _Shop()))
    }
    sections = {
        (match[1], match[2])
        for heading in headings(page("docs/admin-api.md"))
        if (match := re.fullmatch(r"`(GET|POST|PATCH|DELETE) (\S+)`", heading))
    }
    assert sections == actions
