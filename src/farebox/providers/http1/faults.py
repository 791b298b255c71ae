"""What can go wrong on the way to a provider, in our own words: never a provider's text, host, address or key.

The kind before the head of a reply lets the call go to its next route; PROVIDER_CUT, once the head has come, does
not. What happened underneath is the fault's `__cause__`, for logs alone.
"""

from __future__ import annotations

from farebox.core.errors import Fault, Kind

_OVERLOADED_RETRY_S = 1.0  # A connection comes free as soon as any call ends.


def unreachable() -> Fault:
    """No connection could be made: name, network, TLS or proxy."""
    return Fault(Kind.PROVIDER_ERROR, "The model's provider could not be reached; try again.")


def unreachable_in_time() -> Fault:
    """No connection within the connect limit."""
    return Fault(Kind.PROVIDER_TIMEOUT, "The model's provider could not be reached in time; try again.")


def no_answer_in_time() -> Fault:
    """No head of a reply within the first-byte limit."""
    return Fault(Kind.PROVIDER_TIMEOUT, "The model's provider did not answer in time; try again.")


def silent() -> Fault:
    """Nothing within the idle limit: no further piece of the reply, or nothing of the request taken."""
    return Fault(Kind.PROVIDER_TIMEOUT, "The model's provider fell silent during its answer; try again.")


def too_long() -> Fault:
    """The whole exchange went beyond the total limit."""
    return Fault(
        Kind.PROVIDER_TIMEOUT, "The model's provider took too long over its answer; ask for a shorter one."
    )


def no_answer() -> Fault:
    """The connection ended before the head of a reply."""
    return Fault(
        Kind.PROVIDER_ERROR, "The model's provider closed the connection without an answer; try again."
    )


def unreadable(*, begun: bool) -> Fault:
    """What came is not HTTP, or beyond the limits of what is read. `begun`: after the head."""
    kind = Kind.PROVIDER_CUT if begun else Kind.PROVIDER_ERROR
    return Fault(kind, "The model's provider sent an answer that cannot be read; try again.")


def cut() -> Fault:
    """The reply began and did not come to its end."""
    return Fault(Kind.PROVIDER_CUT, "The model's provider ended its answer early; try again.")


def cancelled() -> Fault:
    """What a reader finds after `cancel`."""
    return Fault(Kind.PROVIDER_CUT, "The answer of the model's provider was cancelled.")


def too_large() -> Fault:
    """A whole body beyond its reader's limit."""
    return Fault(
        Kind.PROVIDER_ERROR, "The model's provider sent a larger answer than is taken; ask for a smaller one."
    )


def exhausted() -> Fault:
    """Every connection allowed to this origin is in use."""
    return Fault(
        Kind.PROVIDER_OVERLOADED,
        "Too many calls to the model's provider are under way; try again shortly.",
        retry_after_s=_OVERLOADED_RETRY_S,
    )


def closing() -> Fault:
    """The client was closed: the gateway is going down."""
    return Fault(Kind.DRAINING, "The gateway is shutting down; try again.")
