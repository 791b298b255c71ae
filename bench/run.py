"""Entry of the measuring rig: `python bench/run.py` from any folder. The rig itself is rig.py and what that imports."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(
        0, str(Path(__file__).resolve().parents[1])
    )  # A script has its own folder there, not the root.

    from bench.rig import main

    sys.exit(main(sys.argv[1:]))
