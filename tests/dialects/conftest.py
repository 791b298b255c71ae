"""What the laws share: no deadline on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("dialects", deadline=None)
settings.load_profile("dialects")
