"""Lists of models: each profile's own, and the public catalogue with the customer's prices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from farebox.accounts.plans import Plan
from farebox.api.model_lists import anthropic_page, anthropic_row, asker, google_page, google_row
from farebox.api.visit import Visit
from farebox.billing.prices.tariff import write_moment
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.core.rates import PER_MILLION, Rates
from farebox.gateway.admit import authenticate, check_grant
from farebox.gateway.call import Grant
from farebox.gateway.house import House
from farebox.gateway.profiles import Profile
from farebox.providers.listing import Listing

# The shapes of other makers' clients; any other asker gets OpenAI's.
_PAGES: dict[str, Callable[[Visit, Sequence[Listing]], dict[str, object]]] = {
    "anthropic": anthropic_page,
    "gemini": google_page,
}
_ROWS: dict[str, Callable[[Listing], dict[str, object]]] = {"anthropic": anthropic_row, "gemini": google_row}
CREATED = 0  # Release dates are not in the catalogue; the member is there because clients' types ask for it.


class Models:
    """The model surfaces."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def list_models(self, visit: Visit) -> None:
        """`GET …/models`: what this key may use, in the shape of whoever asks."""
        visit.dialect = asker(visit)
        plan = self._admit(visit).plan
        listings = [
            listing
            for listing in self._house.catalogue.listings
            if plan.allows(listing.id) and self._house.routes.sells(listing, plan.markup_nano)
        ]
        page = _PAGES.get(visit.dialect.name)
        if page is not None:
            visit.answer(page(visit, listings))
            return
        rows = [self._row(listing, visit.profile, plan) for listing in listings]
        visit.answer({"object": "list", "data": rows})

    async def get_model(self, visit: Visit) -> None:
        """`GET …/models/{id}`, in the shape of whoever asks."""
        visit.dialect = asker(visit)
        plan = self._admit(visit).plan
        listing = self._house.catalogue.find(visit.rest)
        if listing is None or not plan.allows(listing.id):
            raise Fault(
                Kind.MODEL_NOT_FOUND, f"The model {visit.rest[:200]!r} does not exist.", param="model"
            )
        row = _ROWS.get(visit.dialect.name)
        visit.answer(self._row(listing, visit.profile, plan) if row is None else row(listing))

    async def catalogue(self, visit: Visit) -> None:
        """`GET /api/models`: public, in AICredits' form, with what the customer pays."""
        house = self._house
        listings = [listing for listing in house.catalogue.listings if house.routes.sells(listing, None)]
        visit.answer({"object": "list", "data": [self._priced(listing) for listing in listings]})

    def _admit(self, visit: Visit) -> Grant:
        grant = visit.grant = authenticate(visit.secret(), self._house, counts=False)
        visit.headers += grant.headers
        check_grant(grant, visit.profile)
        return grant

    def _price(self, listing: Listing, markup_nano: int | None = None) -> Rates:
        return self._house.prices.price(listing.id, listing.cost, listing.price, markup_nano).rates

    def _changes(self, listing: Listing, markup_nano: int | None) -> list[dict[str, object]]:
        """The prices to come, the next first."""
        return [
            {
                "from": write_moment(coming.starts_us),
                "currency": coming.version.rates.currency,
                "prompt": _per_unit(coming.version.rates.input),
                "completion": _per_unit(coming.version.rates.output),
                "input_cost_per_1m": _number(coming.version.rates.input),
                "output_cost_per_1m": _number(coming.version.rates.output),
            }
            for coming in self._house.prices.coming.get((listing.id, markup_nano), ())
        ]

    def _row(self, listing: Listing, profile: Profile, plan: Plan) -> dict[str, object]:
        name = self._bare(listing) if profile.bare_list else listing.id
        row: dict[str, object] = {"id": name, "object": "model", "owned_by": listing.owner}
        if profile.bare_list:
            return row
        rates = self._price(listing, plan.markup_nano)
        changes = self._changes(listing, plan.markup_nano)
        row |= {"price_changes": changes} if changes else {}
        return row | {
            "created": CREATED,
            "name": listing.name,
            "type": listing.kind,
            "context_length": listing.context_window,
            "max_output_tokens": listing.max_output,
            "pricing": {
                "currency": rates.currency,
                "prompt": _per_unit(rates.input),
                "completion": _per_unit(rates.output),
                "input_cache_read": _per_unit(rates.cache_read),
                "request": write_nano(rates.request or 0),
            },
        }

    def _bare(self, listing: Listing) -> str:
        """The id without its maker, where that still means this model."""
        bare = listing.id.rpartition("/")[2]
        return bare if self._house.catalogue.find(bare) is listing else listing.id

    def _priced(self, listing: Listing) -> dict[str, object]:
        rates = self._price(listing)
        row: dict[str, object] = {
            "id": listing.id,
            "name": listing.name,
            "provider": listing.owner,
            "context_window": listing.context_window,
            "input_cost_per_1m": _number(rates.input),
            "output_cost_per_1m": _number(rates.output),
            "currency": rates.currency,
            "type": listing.kind,
        }
        changes = self._changes(listing, None)
        if changes:
            row["price_changes"] = changes
        each = {
            name: _number(rate)
            for name in ("second", "character", "request")
            if (rate := getattr(rates, name)) is not None
        }
        if rates.images:
            each["image"] = msgspec.Raw(
                msgspec.json.encode({variant or "default": _number(rate) for variant, rate in rates.images})
            )
        return row | ({"cost_each": each} if each else {})


def _number(nano: int | None) -> msgspec.Raw:
    """An amount as a JSON number with its exact decimal digits."""
    return msgspec.Raw(b"null" if nano is None else write_nano(nano).encode())


def _per_unit(nano_per_million: int | None) -> str | None:
    """OpenRouter's form: the price of one token as a decimal string, exact to 10⁻¹⁵."""
    if nano_per_million is None:
        return None
    whole, rest = divmod(nano_per_million, PER_MILLION * 10**9)
    return f"{whole}.{rest:015d}".rstrip("0").rstrip(".")
