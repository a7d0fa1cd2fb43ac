"""Values of any size, as they are shown: a large one by its beginning. Pure."""

from __future__ import annotations

from .events import JSON

SHOWN = 16 * 1024
"""Characters of one value in a row. Rows of all agents are sent together, to everybody who looks; the log has it whole."""


def brief(value: JSON, room: int = SHOWN) -> JSON:
    """The value, with at most so many characters in all of its texts, and as many things in it."""
    if value is None or (isinstance(value, str) and len(value) <= room):
        return value  # nearly all are
    return _cut(value, [room])


def text(value: str, room: int = SHOWN) -> str:
    """Its beginning, and how long it is."""
    return value if len(value) <= room else f"{value[:room]}… ({len(value):,} characters)"


def _cut(value: JSON, left: list[int]) -> JSON:
    """left: how much there is still room for."""
    left[0] -= 1
    match value:
        case str():
            shown = text(value, max(0, left[0]))
            left[0] -= min(len(value), left[0] + 1)
            return shown
        case dict():
            kept: dict[str, JSON] = {}
            for key, inner in value.items():
                if left[0] <= 0:
                    return {**kept, "…": f"({len(value):,} in all)"}
                left[0] -= min(len(key), left[0])
                kept[text(key, 256)] = _cut(inner, left)
            return kept
        case list() | tuple():
            shown_items: list[JSON] = []
            for inner in value:
                if left[0] <= 0:
                    return [*shown_items, f"… ({len(value):,} in all)"]
                shown_items.append(_cut(inner, left))
            return shown_items
    return value
