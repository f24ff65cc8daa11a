"""What the cards of masked networks have in common."""

from __future__ import annotations

from ..card import ModelCard

__all__ = ["masked_card"]


def masked_card(name: str, *, summary: str, paper: str, source: str, faithful: str, alarms: str) -> ModelCard:
    """The card of the masked network `name`, a `MultiLayer` at heart.

    alarms: what `rbl diagnose` must say of it.
    """
    return ModelCard(
        name=name,
        family="masked",
        summary=summary,
        paper=paper,
        source=source,
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=5_962,
        weights=("nominal",),
        recipes=(f"{name}-nominal",),
        faithful=faithful,
        deviates="8x8 digits and a perceptron of about 6,000 weights; the mask is put on by hand, not as a "
        "defence that anybody believes in.",
        intended_use=f"Testing attacks and their diagnostics: expected alarms are {alarms}.",
        limits="No defence of anything: an attack that knows the mask breaks it.",
        licence="Apache-2.0",
    )
