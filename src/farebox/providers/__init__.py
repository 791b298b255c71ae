"""Providers: what can be bought where, and the ways out to it."""
