"""The command line: each verb a thin call into the layers below.

Exit 0: done. 1: refused, or the books are not balanced. 2: usage or configuration. The reason is one line on standard
error.
"""

from farebox.cli.main import main

__all__ = ["main"]
