"""The style of a component class, worked out when it is first used.

Textual works out every component class of every widget again whenever a style may have changed. A screen
drawn line by line has some two hundred of them, and that was a third of the time until its first frame.
"""

from collections.abc import Hashable

from rich.style import Style
from textual.dom import DOMNode
from textual.widget import Widget


def ink(widget: Widget, component: str, *states: Hashable) -> Style:
    """Return the colour and text style of a component class, and its background if it has one of its own.

    It is worked out once for each theme and kept with the app; `states` are those of the widget that its
    rules depend on.
    """
    app = widget.app
    kept: dict[Hashable, Style] = vars(app).setdefault("_pgtop_inks", {})
    key = (app.theme, app.ansi_color, component, *states)
    style = kept.get(key)
    if style is None:
        style = kept[key] = _worked_out(widget, component)
    return style


def _worked_out(widget: Widget, component: str) -> Style:
    node = DOMNode(classes=component)
    node._attach(widget)  # as Textual does for the classes that a widget declares
    widget.app.stylesheet.apply(node, animate=False)
    style = node.rich_style
    own_background = style.bgcolor if node.styles.has_rule("background") else None
    return Style.from_color(style.color, own_background) + node.styles.text_style
