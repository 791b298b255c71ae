"""Delivery: the ways of telling a notice, and the courier who uses them."""
