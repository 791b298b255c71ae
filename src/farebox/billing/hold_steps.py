"""Hold steps: what a call held at first, each time it held more, and why; kept with its request for the receipt."""

from __future__ import annotations

import msgspec

GREW = "stream"  # The stream went on.
COUNTED = "usage"  # The provider counted more than was held.


class Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One extension of a hold."""

    why: str
    amount_nano: int
    after_ms: int  # Since the call began.


class HoldSteps(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a hold came to be what it was."""

    first_nano: int
    more: tuple[Step, ...] = ()
    max_charge_nano: int | None = None  # The caller's x-farebox-max-charge.
    output_limit: int | None = (
        None  # Tokens for each choice, where the gateway set a limit that the caller had not.
    )


_decoder = msgspec.json.Decoder(HoldSteps)


def write_steps(steps: HoldSteps) -> str | None:
    """As the books keep them; nothing of a hold that was taken once and for no special limit."""
    if steps.more or steps.max_charge_nano is not None or steps.output_limit is not None:
        return msgspec.json.encode(steps).decode()
    return None


def read_steps(text: str | None, hold_nano: int) -> HoldSteps:
    """Back from the books; `hold_nano` is the whole of the hold."""
    return HoldSteps(hold_nano) if text is None else _decoder.decode(text)
