from __future__ import annotations

import hashlib
import hmac
import time

import msgspec
import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.payments.minor_units import from_minor, payable_nano, tax_nano, to_minor
from farebox.billing.payments.processors import PROCESSORS, build_processor
from farebox.billing.payments.processors.processor import (
    ForgedEventError,
    Order,
    PaymentState,
    Processor,
    ProcessorRefusedError,
    RefundOrder,
    Terms,
)
from farebox.core.money import NANO

SECRETS = {
    "secret_key": "sk_test_1",
    "key_id": "rzp_1",
    "key_secret": "s",
    "webhook_secret": "whsec_1",
}
BODY = msgspec.json.encode(
    {"id": "evt_1", "type": "checkout.session.completed", "data": {"object": {"id": "cs_1"}}}
)
LINK_PAID = msgspec.json.encode(
    {"event": "payment_link.paid", "payload": {"payment_link": {"entity": {"id": "plink_1"}}}}
)


def processor(name: str, **secrets: str) -> Processor:
    return build_processor(name, Terms({**SECRETS, **secrets}, public=False))


def order(**members: object) -> Order:
    return msgspec.structs.replace(
        Order("T1", 10 * NANO, 0, "INR", "", "https://shop.example/", 0), **members
    )


def stripe_signed(body: bytes = BODY, secret: str = "whsec_1", age_s: int = 0) -> dict[str, str]:
    at_s = int(time.time()) - age_s
    return {
        "stripe-signature": stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at_s)
    }


def razorpay_signed(body: bytes, secret: str = "whsec_1") -> dict[str, str]:
    return {"x-razorpay-signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def test_stripe_reads_the_reference_of_a_signed_event() -> None:
    event = processor("stripe").read_event(BODY, stripe_signed())
    assert (event.id, event.reference) == ("evt_1", "cs_1")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY, {}),
        (BODY, {"stripe-signature": ""}),
        (BODY, {"stripe-signature": "t=1,v1=é"}),
        (BODY, stripe_signed(secret="whsec_other")),
        (BODY, stripe_signed(secret="")),
        (BODY, stripe_signed(age_s=301)),
        (BODY + b" ", stripe_signed()),
        (b"\xff", stripe_signed()),
        (b"[]", stripe_signed(b"[]")),
    ],
)
def test_stripe_hears_nothing_forged_changed_or_stale(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(ForgedEventError):
        processor("stripe").read_event(body, headers)


def test_razorpay_reads_the_reference_of_a_signed_event() -> None:
    event = processor("razorpay").read_event(LINK_PAID, razorpay_signed(LINK_PAID))
    assert event.reference == "plink_1"


def test_the_id_of_a_razorpay_event_is_not_taken_from_a_header_that_nobody_signed() -> None:
    signed = razorpay_signed(LINK_PAID)
    ids = {
        processor("razorpay").read_event(LINK_PAID, {**signed, "x-razorpay-event-id": id_}).id
        for id_ in "abc"
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (LINK_PAID, {}),
        (LINK_PAID, {"x-razorpay-signature": "é"}),
        (LINK_PAID, razorpay_signed(LINK_PAID, "other")),
        (LINK_PAID, razorpay_signed(LINK_PAID, "")),
        (LINK_PAID + b" ", razorpay_signed(LINK_PAID)),
        (b"\xff", razorpay_signed(b"\xff")),
        (b"[]", razorpay_signed(b"[]")),
    ],
)
def test_razorpay_hears_nothing_forged_or_changed(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(ForgedEventError):
        processor("razorpay").read_event(body, headers)


@pytest.mark.parametrize("name", ["stripe", "razorpay"])
@pytest.mark.parametrize("secret", ["", " "])
def test_without_a_secret_nobody_listens(name: str, secret: str) -> None:
    assert processor(name).listens
    assert not processor(name, webhook_secret=secret).listens


@pytest.mark.parametrize("name", ["stripe", "razorpay"])
def test_an_event_of_another_kind_names_nothing(name: str) -> None:
    body = msgspec.json.encode(
        {"id": "evt_1", "type": "customer.created", "event": "x", "data": {"object": {"id": "cus_1"}}}
    )
    headers = stripe_signed(body) | razorpay_signed(body)
    assert processor(name).read_event(body, headers).reference is None


def test_dev_refuses_a_public_address() -> None:
    with pytest.raises(ValueError, match="loopback"):
        build_processor("dev", Terms({}, public=True))


@pytest.mark.parametrize(
    ("name", "missing"), [("stripe", "secret_key"), ("razorpay", "key_id and key_secret")]
)
def test_a_processor_without_its_keys_is_not_built(name: str, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        build_processor(name, Terms({}))


@pytest.mark.parametrize("name", ["dev", "manual"])
def test_what_is_paid_at_once_remembers_by_its_reference_alone(name: str) -> None:
    ref = processor(name).start(order(reason="bank transfer")).ref
    payment = processor(name).look_up(ref)
    assert payment is not None
    assert (payment.order_id, payment.state, payment.paid_nano) == ("T1", PaymentState.PAID, 10 * NANO)
    assert processor(name).look_up("elsewhere") is None
    assert processor(name).refund(RefundOrder("R1", "T1", ref, NANO, "INR")).ours == "R1"
    assert not processor(name).listens


def test_a_payment_by_hand_says_why() -> None:
    with pytest.raises(ProcessorRefusedError, match="reason"):
        processor("manual").start(order(reason=" "))


def test_a_saved_method_cannot_be_charged_with_razorpay_and_it_says_so() -> None:
    assert not PROCESSORS["razorpay"].off_session
    with pytest.raises(ProcessorRefusedError, match="not available"):
        processor("razorpay").start(order(method="token_1"))


@pytest.mark.parametrize(
    ("nano", "currency", "minor"),
    [
        (25 * NANO, "INR", 2_500),
        (NANO // 100, "INR", 1),
        (25 * NANO, "JPY", 25),
        (25 * NANO + NANO // 100, "KWD", 25_010),
        (25 * NANO, "UGX", 25),
    ],
)
def test_minor_units_are_exact(nano: int, currency: str, minor: int) -> None:
    assert to_minor(nano, currency) == minor
    assert from_minor(minor, currency) == nano


@pytest.mark.parametrize(("nano", "currency"), [(NANO + 1, "INR"), (NANO // 2, "JPY"), (NANO // 1000, "KWD")])
def test_what_is_no_whole_coin_is_refused(nano: int, currency: str) -> None:
    with pytest.raises(ValueError, match="cannot be paid exactly"):
        to_minor(nano, currency)


def test_stripe_counts_two_currencies_without_hundredths_in_hundredths() -> None:
    assert to_minor(25 * NANO, "UGX", 2) == 2_500
    with pytest.raises(ValueError, match="cannot be paid exactly"):
        to_minor(NANO // 2, "UGX", 2)


@given(st.integers(1, 10**7), st.integers(0, 10_000), st.sampled_from(["INR", "JPY", "KWD"]))
def test_tax_is_whole_coins_and_at_most_half_a_coin_off(coins: int, basis_points: int, currency: str) -> None:
    coin = payable_nano(currency)
    tax = tax_nano(coins * coin, basis_points, currency)
    assert tax % coin == 0
    assert abs(2 * (tax * 10_000 - coins * coin * basis_points)) <= 10_000 * coin
