"""Idempotency: what a caller names by a key of its own is done once, and answered the same again."""
