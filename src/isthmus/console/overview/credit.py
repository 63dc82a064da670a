"""Revenue by channel: what each is credited with under the chosen model, and how far the other models disagree."""

from collections.abc import Sequence
from decimal import Decimal

from isthmus.analytics import MODELS, UNATTRIBUTED, Asked, Attribution
from isthmus.console import words
from isthmus.console.overview.views import Bucket, CreditView, CurrencyView, ModelView
from isthmus.domains.sales.metrics import attribution_of
from isthmus.gateway import Services
from isthmus.store.database import Transaction

CHANNELS_MAX = 9
PERMISSION = "sales:read"
_LABELS = {
    "first": "First",
    "last": "Last",
    "last_non_direct": "Last non-direct",
    "linear": "Linear",
    "time_decay": "Time decay",
    "position": "Position",
}


async def load_credit(tx: Transaction, services: Services) -> Sequence[Attribution]:
    """Return the answers of all rule models over the same journeys, by channel.

    Right after a long import the database knows little of what it holds, and would compare every row with every other.
    """
    await tx.connection.execute("set local enable_nestloop = off")
    await tx.connection.execute("set local statement_timeout = '30s'")
    return [
        await attribution_of(tx, services, asked=Asked(by="channel", model=name, as_of=tx.scope.now)) for name in MODELS
    ]


def credit_view(answers: Sequence[Attribution] | None, *, model: str, currency: str | None) -> CreditView:
    """Return the picture of one model in one currency, channels by what they are credited.

    Every model credits the same total, so that the spread of a channel between models is what they disagree about.
    Without `currency`, or when nothing was won in it, the picture is of the one in which most was won.
    """
    models = tuple(
        ModelView(
            name=each.name,
            label=_LABELS.get(each.name, words.title(each.name)),
            meaning=each.meaning,
            chosen=each.name == model,
        )
        for each in MODELS.values()
    )
    by_model = {each.model: each for each in answers or ()}
    chosen = by_model.get(model)
    if chosen is None or not chosen.outcomes or not chosen.revenue:
        return CreditView(models=models, ready=answers is not None)
    won = sorted(chosen.revenue, key=lambda each: (-chosen.revenue[each], each))
    shown = currency if currency in won else won[0]
    credit = {name: _of(answer, shown) for name, answer in by_model.items()}
    channels = {channel for each in credit.values() for channel in each}
    mine = credit[model]
    order = sorted(channels, key=lambda each: (each == UNATTRIBUTED, -mine.get(each, Decimal(0)), each))
    return CreditView(
        models=models,
        currencies=tuple(
            CurrencyView(name=each, total=words.money(chosen.revenue[each], each), chosen=each == shown) for each in won
        ),
        buckets=_buckets(_folded(order), credit, model=model, total=chosen.revenue[shown], currency=shown),
        outcomes=chosen.outcomes,
    )


def _of(answer: Attribution, currency: str) -> dict[str, Decimal]:
    return {each.bucket: each.revenue for each in answer.totals if each.currency == currency}


def _folded(order: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return lines of channels; small ones share the last but one, so that nothing is hidden."""
    named = [each for each in order if each != UNATTRIBUTED]
    lines: list[tuple[str, tuple[str, ...]]] = [(words.title(each), (each,)) for each in named[:CHANNELS_MAX]]
    if rest := tuple(named[CHANNELS_MAX:]):
        lines.append((f"{len(rest)} others", rest))
    if UNATTRIBUTED in order:
        lines.append(("Unattributed", (UNATTRIBUTED,)))
    return lines


def _buckets(
    lines: list[tuple[str, tuple[str, ...]]],
    credit: dict[str, dict[str, Decimal]],
    *,
    model: str,
    total: Decimal,
    currency: str,
) -> tuple[Bucket, ...]:
    def amount(of_model: str, channels: tuple[str, ...]) -> Decimal:
        return sum((credit[of_model].get(each, Decimal(0)) for each in channels), Decimal(0))

    amounts = {label: {each: amount(each, channels) for each in credit} for label, channels in lines}
    largest = max((value for each in amounts.values() for value in each.values()), default=Decimal(0)) or Decimal(1)
    return tuple(
        Bucket(
            name=label,
            amount=words.money(amounts[label][model], currency),
            share=float(amounts[label][model] / total) if total else 0.0,
            bar=float(amounts[label][model] / largest),
            low=float(min(amounts[label].values()) / largest),
            high=float(max(amounts[label].values()) / largest),
            unattributed=channels == (UNATTRIBUTED,),
            by_model=tuple(words.money(amounts[label][each], currency) for each in MODELS if each in credit),
        )
        for label, channels in lines
    )
