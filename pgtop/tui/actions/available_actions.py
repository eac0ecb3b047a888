"""The rules for which of the dashboard's actions are available: before data, on the wall, and read-only."""

from typing import Final

ACTING: Final = frozenset({"terminate", "cancel", "sweep", "auto", "break_glass"})
"""The actions that terminate or cancel something, which are not available if `read_only`."""

WITHOUT_DATA: Final = frozenset({"back", "break_glass", "clear", "help", "outcomes", "wall"})
"""The actions that are available before the first snapshot."""

ON_THE_LIST: Final = frozenset(
    {
        *("terminate", "cancel", "tag", "tag_listed", "untag", "filter", "match"),
        *("sort", "columns", "reverse", "copy"),
    }
)
"""The actions on the list or on one of its sessions, which the wall does not show."""


def is_permitted(action: str, *, has_data: bool, wall: bool, read_only: bool) -> bool:
    """Return whether a key, the mouse or the palette may run an action now.

    >>> is_permitted("terminate", has_data=True, wall=False, read_only=True)
    False
    >>> is_permitted("help", has_data=False, wall=True, read_only=True)
    True
    """
    if read_only and action in ACTING:
        return False
    if not has_data and action not in WITHOUT_DATA:
        return False
    return not (wall and action in ON_THE_LIST)


def leads_to_list(action: str, *, read_only: bool) -> bool:
    """Return whether the key of an action, pressed on the wall, switches to the list that it acts on."""
    return action in ON_THE_LIST and not (read_only and action in ACTING)
