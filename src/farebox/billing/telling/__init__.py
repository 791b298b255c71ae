"""Telling: notices and alerts, and how they get to whom they are for."""
