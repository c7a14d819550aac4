"""What shows itself: at a prompt, in print and in Jupyter, by way of one card."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memcalc.show.card import Card

__all__ = ["Shown"]


class Shown:
    """An answer that has a card; its text and its HTML are made when they are asked for."""

    @property
    def card(self) -> Card:
        """What there is to show: each kind of answer says it."""
        raise TypeError(f"{type(self).__name__} has no card")

    def __repr__(self) -> str:
        from memcalc.show.text import brief

        return brief(self.card)

    def __str__(self) -> str:
        from memcalc.show.text import full

        return full(self.card)

    def _repr_html_(self) -> str:
        from memcalc.show.html import page

        return page(self.card)
