"""Farebox: a self-hosted AI gateway that sells metered access to models."""

__version__ = "0.1.0"
