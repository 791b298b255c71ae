"""The directory: keys and accounts in memory, so that no call reads the database to know its caller.

It follows the list of changes: whatever another process minted, revoked or disabled is known here within a second.
"""

from __future__ import annotations

from farebox.accounts.accounts import Account, read_accounts
from farebox.accounts.changes import changes_after, last_change
from farebox.accounts.keys import Key, digest_of, read_keys_with_digests
from farebox.store.database import Database


class Directory:
    """Who may call. `refresh` brings it up to date; look-ups never wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[bytes, Key] = {}
        self._accounts: dict[int, Account] = {}
        self.used_us: dict[int, int] = {}  # Keys used since the last time it was written down.
        with database.read() as view:
            self._last = last_change(view)
            self._keys.update(read_keys_with_digests(view))
            self._accounts.update((account.id, account) for account in read_accounts(view))

    def find(self, secret: str, now_us: int) -> tuple[Key, Account] | None:
        """The usable key of that secret and its account, if there is one."""
        digest = digest_of(secret)
        key = self._keys.get(digest)
        if (
            key is None and self.refresh()
        ):  # Minted a moment ago, perhaps: whoever got a key may use it at once.
            key = self._keys.get(digest)
        if key is None or not key.usable_at(now_us):
            return None
        self.used_us[key.id] = now_us
        return key, self._accounts[key.account_id]

    def refresh(self) -> bool:
        """Read what changed since the last time; whether anything did."""
        with self._database.read() as view:
            changes = changes_after(view, self._last)
            for n, what, id_ in changes:
                if what == "key":
                    self._keys.update(read_keys_with_digests(view, "WHERE id = ?", id_))
                elif what == "account":
                    self._accounts.update(
                        (account.id, account) for account in read_accounts(view, "WHERE id = ?", id_)
                    )
                self._last = n
        return bool(changes)
