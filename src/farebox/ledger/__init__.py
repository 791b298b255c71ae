"""The ledger: rules, books, their check, and who owns what is held."""
