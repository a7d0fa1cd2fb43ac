"""A frame that shows itself as the table that people read, as long as nobody has changed it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from agentlab.faces.values import Listing, rendered


class ShownFrame(pd.DataFrame):
    """A frame in every other respect. What is made of it (a selection, a copy) is a plain one."""

    _metadata = ["_listing", "_as_made"]  # noqa: RUF012 - pandas' name and type for it

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    @classmethod
    def of(cls, listing: Listing) -> pd.DataFrame:
        """Where there is too much to show, the plain frame: pandas shows its beginning and end."""
        plain = listing.frame()
        if len(listing.cells) != len(plain):
            return plain
        shown = cls(plain)
        object.__setattr__(shown, "_listing", listing)
        object.__setattr__(shown, "_as_made", plain)
        return shown

    def _unchanged(self) -> Listing | None:
        listing: Listing | None = getattr(self, "_listing", None)
        plain: Any = pd.DataFrame(self)
        return listing if listing is not None and plain.equals(self._as_made) else None

    def __repr__(self) -> str:
        listing = self._unchanged()
        return super().__repr__() if listing is None else rendered(listing)

    def _repr_html_(self) -> str:
        listing = self._unchanged()
        plain: Any = pd.DataFrame(self)
        return str(plain._repr_html_()) if listing is None else listing._repr_html_()
