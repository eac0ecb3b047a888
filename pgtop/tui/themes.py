"""The four colour themes, with the same names in each, so that no other code depends on the chosen one.

Usage below the 80% line has the accent's colour, above it amber, and red once new connections are refused.
Red is also what terminates and what failed; whatever else deserves attention, lock waits too, is amber.
Text has a contrast of at least 4.5 to its background. No state is shown by colour alone.
"""

from typing import Final

from textual.theme import BUILTIN_THEMES, Theme

_GRAPH: Final = ("graph-active", "graph-in-transaction", "graph-idle", "graph-other")
"""The variables with the colours of the graph's layers."""


def _theme(
    name: str,
    *,
    dark: bool = True,
    calm: str,
    over: str,
    full: str,
    good: str,
    text: str,
    muted: str,
    background: str,
    surface: str,
    panel: str,
    alarm: str,
    cursor: tuple[str, str],
    graph: tuple[str, str, str, str],
) -> Theme:
    """Return a theme; `alarm` is the background of alarms, `cursor` the cursor's text and background.

    `graph` has the colours of active, in transaction, idle and other sessions in the graph. They differ in
    lightness, the lowest layer most from the background.
    """
    return Theme(
        name=name,
        primary=calm,
        secondary=muted,
        accent=calm,
        warning=over,
        error=full,
        success=good,
        foreground=text,
        background=background,
        surface=surface,
        panel=panel,
        dark=dark,
        variables={
            "text-primary": calm,
            "text-accent": calm,
            "text-warning": over,
            "text-error": full,
            "text-success": good,
            "text-muted": muted,
            "error-muted": alarm,
            "block-cursor-foreground": cursor[0],
            "block-cursor-background": cursor[1],
            "block-cursor-text-style": "none",
            **dict(zip(_GRAPH, graph, strict=True)),
        },
    )


DARK: Final = _theme(
    "dark",
    calm="#6cb6ff",
    over="#f5b454",
    full="#ff7b85",
    good="#7fd08a",
    text="#d8dee6",
    muted="#9aa5b1",
    background="#0f1317",
    surface="#1c232b",
    panel="#26303a",
    alarm="#4a1c21",
    cursor=("#ffffff", "#2048b0"),  # blue, not cyan, where there are sixteen colours
    graph=("#7fd08a", "#9a7fd6", "#35699f", "#4a545f"),
)
LIGHT: Final = _theme(
    "light",
    dark=False,
    calm="#0c54a6",  # the nearest of sixteen colours are blue and red, which white does not wash out
    over="#882a00",
    full="#b3141f",
    good="#17692b",
    text="#1d242c",
    muted="#55606c",
    background="#fafbfc",
    surface="#e8ecf0",
    panel="#dde3e9",
    alarm="#fbdcde",
    cursor=("#ffffff", "#0c54a6"),
    graph=("#0f5522", "#8742b6", "#6795e0", "#b9c1c9"),
)
COLOUR_BLIND: Final = _theme(
    "colour-blind",
    calm="#56b4e9",
    over="#f0e442",
    full="#e0651a",
    good="#9be0cb",
    text="#e2e6ea",
    muted="#a3adb8",
    background="#0f1317",
    surface="#1c232b",
    panel="#26303a",
    alarm="#331a0b",
    cursor=("#ffffff", "#22608a"),
    graph=("#9be0cb", "#cc79a7", "#2a6fa3", "#4a545f"),
)
"""A palette after Okabe and Ito: blue, yellow and vermilion, which also differ in lightness."""

ANSI: Final = Theme(
    name="ansi",
    ansi=True,
    primary="ansi_default",
    secondary="ansi_default",
    accent="ansi_default",
    warning="ansi_magenta",
    error="ansi_bright_red",
    success="ansi_default",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    dark=True,
    variables={
        # The variables that Textual's own widgets need in such a theme.
        **BUILTIN_THEMES["ansi-dark"].variables,
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "text-primary": "ansi_default",
        "error-muted": "ansi_default",
        "border": "ansi_default",
        "border-blurred": "ansi_default",
        "block-cursor-foreground": "ansi_default",
        "block-cursor-background": "ansi_default",
        "block-cursor-text-style": "reverse",
        **dict(zip(_GRAPH, ("ansi_green", "ansi_cyan", "ansi_blue", "ansi_bright_black"), strict=True)),
        "input-cursor-background": "ansi_default",
        "input-cursor-foreground": "ansi_default",
        "input-cursor-text-style": "reverse",
        "input-selection-background": "ansi_default",
        "input-selection-foreground": "ansi_default",
        "scrollbar": "ansi_bright_blue",
        "scrollbar-hover": "ansi_bright_blue",
        "scrollbar-active": "ansi_magenta",
        "scrollbar-background": "ansi_default",
        "scrollbar-background-hover": "ansi_default",
        "scrollbar-background-active": "ansi_default",
        "screen-selection-background": "ansi_default",
        "screen-selection-foreground": "ansi_default",
    },
)
"""The terminal's own colours on its own background, which may be light or dark.

Of the sixteen, magenta and bright red alone have a contrast of 3 on both in all the usual palettes: yellow,
green and cyan fade on white, blue on black. The rest is bold, dim, underlined or in reverse. Magenta is the
warnings', and of no layer of the graph.
"""

THEMES: Final = {theme.name: theme for theme in (DARK, LIGHT, ANSI, COLOUR_BLIND)}
