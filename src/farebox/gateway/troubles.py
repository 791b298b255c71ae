"""Troubles: what goes wrong at one provider that only the operator can put right."""

from __future__ import annotations


class Troubles:
    """Counted where a call fails, read and told by a duty."""

    def __init__(self) -> None:
        self.spent = 0  # Calls refused because our account there is out of credit or quota.

    def take_spent(self) -> int:
        """How many since the last look."""
        spent, self.spent = self.spent, 0
        return spent
