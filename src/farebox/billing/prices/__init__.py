"""Prices: what models cost and sell for, from when, and what a call comes to."""
