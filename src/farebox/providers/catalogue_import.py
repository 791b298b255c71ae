"""The import of the catalogue: from the price list and the file kept by hand to the listings of a release.

How one list of models comes out of many price lists:

* A maker's own price list names its models: `openai` sells `openai/gpt-4o`. Every further name that the list bills
  alike is a listing of its own, snapshots included: whoever asks for gpt-5-codex, or for one day's gpt-5, gets it.
* A host's or aggregator's model that is already there (by id, or by a bare name that only one maker uses) becomes a
  further route with its own cost; another becomes a listing under the name that its seller uses.
* What is kept by hand is laid over it: limits, media, exclusions.

The result depends on nothing but the two inputs and the day, so that a change of the file is a change of prices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec

from farebox.core.rates import CHAT, IMAGE, SPEECH, Rates, read_rates, sellable
from farebox.providers import model_names
from farebox.providers.listing import Listing, RouteRow, bare, maker_of, write_listings
from farebox.providers.price_list import Sold, read_price_list


class Seller(msgspec.Struct, frozen=True):
    """How one provider of the price list is taken over."""

    provider: str  # The name of its row in providers.json.
    order: int  # Of its routes.
    maker: str | None = None  # What its models' ids begin with, if it makes them itself.
    lower: bool = False  # Its API knows its models in lower case, whatever the list writes.
    strip: str = ""  # What its names begin with that says nothing.
    suffix: str = ""  # What is written after a model's name to be served, and billed, by one partner.


_MAKER: Final = 1
_AGGREGATOR: Final = 99
# By the price list's name of the provider. Others need more than a key and a URL, or sell nothing that these do not.
# Makers' ids follow OpenRouter's spelling, which is what clients know.
_SELLERS: Final = {
    "openai": Seller("openai", _MAKER, "openai"),
    "anthropic": Seller("anthropic", _MAKER, "anthropic"),
    "google": Seller("google", _MAKER, "google"),
    "deepseek": Seller("deepseek", _MAKER, "deepseek"),
    "mistral": Seller("mistral", _MAKER, "mistralai"),
    "x-ai": Seller("x-ai", _MAKER, "x-ai"),
    "cohere": Seller("cohere", _MAKER, "cohere"),
    "perplexity": Seller("perplexity", _MAKER, "perplexity"),
    "moonshotai": Seller("moonshotai", _MAKER, "moonshotai"),
    "minimax": Seller("minimax", _MAKER, "minimax"),
    "zai": Seller("z-ai", _MAKER, "z-ai", lower=True),
    "voyageai": Seller("voyageai", _MAKER, "voyageai"),
    "groq": Seller("groq", 2),
    "cerebras": Seller("cerebras", 3),
    "fireworks": Seller("fireworks", 4),
    "together": Seller("together", 5),
    "novita": Seller("novita", 6),
    "baseten": Seller("baseten", 7),
    "doubleword": Seller("doubleword", 8),
    "avian": Seller("avian", 9),
    "ovhcloud": Seller("ovhcloud", 10),
    "cloudflare": Seller("cloudflare", 11, strip="@cf/"),
    "zhipuai": Seller("zhipuai", 12, lower=True),
    "huggingface_nebius": Seller("huggingface", 13, suffix=":nebius"),
    "huggingface_novita": Seller("huggingface", 13, suffix=":novita"),
    "huggingface_nscale": Seller("huggingface", 13, suffix=":nscale"),
    "huggingface_ovhcloud": Seller("huggingface", 13, suffix=":ovhcloud"),
    "huggingface_publicai": Seller("huggingface", 13, suffix=":publicai"),
    "huggingface_hyperbolic": Seller("huggingface", 13, suffix=":hyperbolic"),
    "huggingface_sambanova": Seller("huggingface", 13, suffix=":sambanova"),
    "huggingface_together": Seller("huggingface", 13, suffix=":together"),
    "openrouter": Seller("openrouter", _AGGREGATOR),
}


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits in tokens of every id that matches."""

    ids: tuple[str, ...]
    context_window: int | None = None
    max_output: int | None = None


class Patterns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ids by the shell's patterns."""

    ids: tuple[str, ...] = ()


class HandRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model kept by hand, or members that override those of an imported one."""

    id: str
    kind: str
    name: str
    cost: dict[str, Any]  # Any: decimal strings and tables of them, which read_rates checks by name.
    aliases: tuple[str, ...] = ()
    routes: tuple[RouteRow, ...] = ()


class ByHand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file kept by hand."""

    default_max_output: int
    exclude: dict[str, str] = {}
    provider: dict[str, str] = {}
    upstream: dict[str, str] = {}
    snapshots: dict[str, tuple[str, ...]] = {}
    limits: tuple[Limits, ...] = ()
    deprecated: Patterns = Patterns()
    models: tuple[HandRow, ...] = ()


class ImportReport(msgspec.Struct, frozen=True):
    """What an import took over and what it left, with reasons."""

    models: int
    priced: int
    kinds: dict[str, int]
    skipped: dict[str, int]  # By reason.


def import_catalogue(target: Path, on: date) -> ImportReport:
    """Write the listings with the prices of that day; NoPriceListError without the development dependency."""
    by_hand = load_by_hand()
    shelf = _Shelf(by_hand)
    sold = sorted(read_price_list(on), key=_turn)
    for one in sold:
        shelf.take(one)
    listings = _finished(shelf.listings(), by_hand)
    target.write_bytes(write_listings(listings))
    return ImportReport(
        models=len(listings),
        priced=sum(listing.cost is not None for listing in listings),
        kinds=dict(sorted(Counter(listing.kind for listing in listings).items())),
        skipped={reason: count for reason, count in sorted(shelf.skipped.items()) if count},
    )


def load_by_hand() -> ByHand:
    """The file kept by hand; msgspec's error names a member it does not know."""
    data = (files("farebox.providers") / "release" / "by_hand.toml").read_bytes()
    return msgspec.toml.decode(data, type=ByHand)


def _turn(one: Sold) -> tuple[int, int, str, str]:
    """Who names a model first: its maker, then the aggregator that spells out makers, then hosts that do, then others.

    Whoever comes later adds a route, if the model is there already.
    """
    seller = _SELLERS.get(one.provider, Seller(one.provider, _AGGREGATOR))
    if seller.maker is not None:
        naming = 0
    elif "/" not in one.model:
        naming = 3
    else:
        naming = 1 if seller.order == _AGGREGATOR else 2
    return (naming, seller.order, one.provider, one.model)


class _Shelf:
    """Listings as they come together, found again by every spelling of their ids."""

    def __init__(self, by_hand: ByHand) -> None:
        self.skipped: Counter[str] = Counter()
        self._by_hand = by_hand
        self._by_id: dict[str, Listing] = {}
        self._by_bare: dict[str, set[str]] = {}

    def listings(self) -> Iterable[Listing]:
        """All of them so far."""
        return self._by_id.values()

    def take(self, one: Sold) -> None:
        """Put one seller's model on the shelf, or count why not."""
        seller = _SELLERS.get(one.provider)
        if seller is None:
            self.skipped["provider not taken over"] += 1
        elif seller.maker is not None:
            rows = _of_maker(one, seller.maker)
            for row in rows:
                self._offer(one, seller, row)
            self.skipped["named for another seller"] += not rows
        elif seller.order == _AGGREGATOR and "/" not in one.model:
            self.skipped["no maker in the name"] += 1
        else:
            self._offer(one, seller, _of_host(one, seller))

    def _offer(self, one: Sold, seller: Seller, row: _Row) -> None:
        reason = self._reason_against(one, row.upstream)
        if reason is not None or one.cost is None:
            self.skipped[reason or "no price"] += 1
            return
        kind = model_names.kind_of(row.id)
        cost = _of_kind(kind, one.cost)
        if cost is None or not sellable(kind, cost):
            self.skipped[f"no price for what a model for {kind} delivers"] += 1
            return
        upstream = self._by_hand.upstream.get(f"{one.provider}:{row.upstream}", row.upstream) + seller.suffix
        upstream = upstream.lower() if seller.lower else upstream
        route = RouteRow(
            self._provider_of(one, seller, row.upstream), upstream, order=seller.order, cost=cost
        )
        present = self._find(row.id)
        if present is None:
            self._put(
                Listing(
                    id=row.id,
                    kind=kind,
                    name=_title(one, row),
                    owner=maker_of(row.id),
                    context_window=one.context_window,
                    aliases=row.aliases,
                    routes=(route,),
                    deprecated=one.deprecated,
                )
            )
        elif any(way.provider == route.provider for way in present.routes):
            self.skipped["another spelling of a model already there"] += 1
        else:
            self._put(
                msgspec.structs.replace(
                    present,
                    routes=(*present.routes, route),
                    context_window=present.context_window or one.context_window,
                )
            )

    def _reason_against(self, one: Sold, name: str) -> str | None:
        if ":" in name.removeprefix("ft:"):
            return "a variant: free, batch or extended"
        return _first(self._by_hand.exclude, one, name) or one.unmetered

    def _provider_of(self, one: Sold, seller: Seller, name: str) -> str:
        """The row that sells a model, which may be another than the seller's usual one."""
        return _first(self._by_hand.provider, one, name) or seller.provider

    def _find(self, id_: str) -> Listing | None:
        present = self._by_id.get(model_names.loose(id_))
        if present is None:
            known = self._by_bare.get(model_names.loose(bare(id_)), set())
            # A host without the maker's name, or with another spelling of it (meta-llama, deepseek-ai, zai-org).
            if len(known) == 1:
                present = self._by_id[next(iter(known))]
        return present

    def _put(self, listing: Listing) -> None:
        key = model_names.loose(listing.id)
        self._by_id[key] = listing
        for name in (listing.id, *listing.aliases):
            self._by_bare.setdefault(model_names.loose(bare(name)), set()).add(key)


class _Row(msgspec.Struct, frozen=True):
    """One model that a seller's entry stands for."""

    id: str
    upstream: str
    aliases: tuple[str, ...] = ()
    is_main: bool = True


def _of_maker(one: Sold, maker: str) -> list[_Row]:
    """The models that a maker's entry stands for: one for each name, its snapshots and moving names included."""
    names: dict[str, str] = {}
    for name in sorted(one.names or (one.model,), key=lambda name: (-name.count("."), name)):
        if "/" not in name:  # An aggregator's spelling, maker and all, is no name at the maker.
            names.setdefault(model_names.loose(name), name)  # Of several spellings, the one with the dots.
    head = min(names.values(), key=lambda name: (name != one.model, len(name), name), default="")
    rows = []
    for name in sorted(names.values()):
        id_ = _client_id(maker, name)
        aliases = {name, one.model} if name == head else {name}
        others = {alias for alias in aliases if model_names.loose(alias) != model_names.loose(bare(id_))}
        rows.append(_Row(id_, name, tuple(sorted(others)), is_main=name == head))
    return rows


def _client_id(maker: str, name: str) -> str:
    """The id as clients know it. Anthropic alone dashes its versions where its clients write a dot."""
    spelled = _SPELLINGS.get(maker, str)(name).lower()
    return f"{maker}/{spelled}"


_SPELLINGS: Final = {"anthropic": model_names.dotted}


def _of_host(one: Sold, seller: Seller) -> _Row:
    """A host's or aggregator's model: under the name it uses, with the host as maker where it names none."""
    # Fireworks calls deepseek-v3p2 accounts/fireworks/models/deepseek-v3p2: the exact name is the one to call.
    upstream = next((name for name in one.names if name.endswith(f"/{one.model}")), one.model)
    name = one.model.lower().removeprefix(seller.strip)
    named = name if "/" in name else f"{one.provider}/{model_names.pointed(name)}"
    return _Row(named, upstream)


def _title(one: Sold, row: _Row) -> str:
    """The list's title where it fits this very name and is written for people."""
    title = one.title or ""
    written = title[:1].isupper() and "/" not in title and maker_of(row.id) not in _PLAIN_TITLES
    return title if row.is_main and written else model_names.human_name(bare(row.id))


# The price list writes OpenAI's titles in many ways; made from the ids, they are written in one.
_PLAIN_TITLES: Final = frozenset({"openai"})


def _of_kind(kind: str, cost: Rates) -> Rates | None:
    """The cost in the classes that a model of this kind reports."""
    if kind == IMAGE and cost.image_out is None:
        # The makers of image models bill what comes out as output; others leave the images out, at a text's rate.
        return None if cost.image_in is None else msgspec.structs.replace(cost, image_out=cost.output)
    if kind == SPEECH and cost.character is None and cost.audio_out is None:
        return msgspec.structs.replace(cost, audio_out=cost.output)
    return cost


def _finished(drafts: Iterable[Listing], by_hand: ByHand) -> tuple[Listing, ...]:
    """The listings with everything kept by hand laid over them, sorted by id."""
    listings = {draft.id: _costed(draft) for draft in drafts}
    for row in by_hand.models:
        listings[row.id] = _overlaid(listings.get(row.id), row)
    for id_, names in by_hand.snapshots.items():
        listings |= {
            taken.id: taken for taken in _snapshots(listings[id_], names) if taken.id not in listings
        }
    return tuple(_limited(listings[id_], by_hand) for id_ in sorted(listings))


def _costed(draft: Listing) -> Listing:
    """Routes in their order; the first one's cost is the listing's, and others say theirs where it differs."""
    first, *others = sorted(draft.routes, key=lambda route: route.order)
    routes = [
        msgspec.structs.replace(way, cost=None if way.cost == first.cost else way.cost) for way in others
    ]
    return msgspec.structs.replace(
        draft, cost=first.cost, routes=(msgspec.structs.replace(first, cost=None), *routes)
    )


def _snapshots(listing: Listing, names: tuple[str, ...]) -> Iterable[Listing]:
    """A listing's snapshots: the same model at its maker alone, under the names given."""
    maker = next(route for route in listing.routes if route.order == _MAKER)
    for name in names:
        yield msgspec.structs.replace(
            listing,
            id=f"{listing.owner}/{name}",
            name=model_names.human_name(name, listing.name),
            aliases=(),
            routes=(msgspec.structs.replace(maker, model=name),),
        )


def _overlaid(present: Listing | None, row: HandRow) -> Listing:
    listing = present or Listing(id=row.id, kind=row.kind, owner=maker_of(row.id))
    return msgspec.structs.replace(
        listing,
        kind=row.kind,
        name=row.name,
        cost=read_rates("USD", **row.cost),
        aliases=row.aliases or listing.aliases,
        routes=row.routes or listing.routes,
    )


def _limited(listing: Listing, by_hand: ByHand) -> Listing:
    """A listing with its limits; what a chat model may answer is always known, since a hold is made from it."""
    limits = next((row for row in by_hand.limits if _matches(listing.id, row.ids)), Limits(()))
    context_window = limits.context_window or listing.context_window
    max_output = limits.max_output
    if max_output is None and listing.kind == CHAT:
        max_output = by_hand.default_max_output
    if max_output is not None and context_window is not None:
        max_output = min(max_output, context_window)
    only = listing.routes == (RouteRow(maker_of(listing.id), bare(listing.id)),)
    return msgspec.structs.replace(
        listing,
        context_window=context_window,
        max_output=max_output,
        routes=() if only else listing.routes,  # The default, left out of the file.
        deprecated=listing.deprecated or _matches(listing.id, by_hand.deprecated.ids),
    )


def _first(patterns: dict[str, str], one: Sold, name: str) -> str | None:
    """What the first pattern says that fits a model of a seller, by this name of it or by its own."""
    keys = (f"{one.provider}:{name}".lower(), f"{one.provider}:{one.model}".lower())
    return next(
        (said for pattern, said in patterns.items() if any(fnmatchcase(key, pattern) for key in keys)), None
    )


def _matches(id_: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(id_, pattern) for pattern in patterns)
