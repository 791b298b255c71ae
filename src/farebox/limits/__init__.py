"""Limits: how much a key may do in a minute."""
