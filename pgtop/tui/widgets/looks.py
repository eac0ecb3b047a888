"""The looks of what is drawn cell by cell: tables of names, looked up by the theme and a widget's states.

They are not component classes: parsing rules for those, and applying them one by one, was a seventh of the
time from the first result to the first frame.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from rich.style import Style
from textual.color import Color
from textual.widget import Widget


class Look(NamedTuple):
    """The look of a cell; "" leaves a part as it is without this look."""

    color: str = ""
    """A colour, or a variable of the theme with a `$`, which a share in percent may follow."""
    background: str = ""
    text: str = ""
    """The text style, such as `bold reverse`; `none` for plain text."""


class Looks(NamedTuple):
    """The looks by their names, and what changes of them in a state; a later field counts more."""

    usual: Mapping[str, Look]
    focused: Mapping[str, Look] = {}
    greyed: Mapping[str, Look] = {}
    """During an outage, when the data is out of date."""
    ansi: Mapping[str, Look] = {}
    """In the terminal's own colours, which have no lighter and no darker ones."""
    colourless: Mapping[str, Look] = {}
    """Without colour; what is changed in the terminal's own colours is so here, too."""
    ansi_greyed: Mapping[str, Look] = {}


NONE: Final = Look()


def style_of(name: str, looks: Looks, widget: Widget, *, greyed: bool = False) -> Style:
    """Return the style of a look on a widget; it has a background only if the look has one of its own."""
    app = widget.app
    is_ansi = app.native_ansi_color
    color, background, text = looks.usual.get(name, NONE)
    for table, applies in (
        (looks.focused, widget.has_focus),
        (looks.greyed, greyed),
        (looks.ansi, is_ansi),
        (looks.colourless, app.no_color),
        (looks.ansi_greyed, is_ansi and greyed),
    ):
        if applies and (changed := table.get(name)) is not None:
            color = changed.color or color
            background = changed.background or background
            text = changed.text or text
    variables = app.theme_variables
    ground = _color("$background", variables)
    if background:
        ground += _color(background, variables)
    return Style.from_color(
        (ground + _color(color, variables)).rich_color if color else None,
        ground.rich_color if background else None,
    ) + Style.parse(variables[text[1:]] if text.startswith("$") else text)


def _color(said: str, variables: Mapping[str, str]) -> Color:
    name, _, share = said.partition(" ")
    if name.startswith("$"):
        return _color(f"{variables[name[1:]]} {share}".rstrip(), variables)  # it may have a share itself
    color = Color.parse(name)
    return color.multiply_alpha(int(share.removesuffix("%")) / 100) if share else color
