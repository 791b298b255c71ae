"""Payments: money on its way into a wallet, and back."""
