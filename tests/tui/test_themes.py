"""The themes: legible, told apart by every kind of eye, and complete on every screen."""

from itertools import combinations
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from rich.color import Color, ColorSystem, ColorType
from rich.segment import Segment
from rich.style import Style
from textual.command import CommandPalette
from textual.theme import Theme

from pgtop.core.server_colour import ServerColour
from pgtop.demo.server import ThrowawayServer
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.themes import ANSI, COLOUR_BLIND, LIGHT, THEMES
from pgtop.tui.widgets.painted_lines import Lines
from tests.conftest import ServerFactory
from tests.servers import execute, session, sessions, wait_until
from tests.support.ascii_gaps import without_ascii
from tests.support.dashboards import Driven, count_stale, dashboard, waiting_dashboard
from tests.support.filling import SEVENTEEN_SLOTS, THREE_SLOTS, full
from tests.support.targets import target_of
from tests.support.terminal_palettes import Triple, contrast, least_contrast, linear

pytestmark = pytest.mark.usefixtures("_colour_is_wanted")

LEAST_CONTRAST = 4.5
"""WCAG's, for text."""
LEAST_ANSI_CONTRAST = 3.0
LEAST_OF_SIXTEEN = 2.7
"""WCAG's for text that is large or bold: more is not to be had on black and on white with sixteen colours."""
LEAST_DISTANCE = 30.0
"""In CIELAB: well above ten times what an eye can just tell apart."""

EYES: dict[str, tuple[Triple, Triple, Triple]] = {
    "full colour vision": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
"""What a colour in linear RGB looks like: Machado, Oliveira and Fernandes (2009), severity 1."""


@pytest.fixture
def _colour_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


def hexadecimal(written: str | None) -> Triple:
    """A colour as a theme has it."""
    assert written is not None
    red, green, blue = (float(int(written[at : at + 2], 16)) for at in (1, 3, 5))
    return red, green, blue


def lab(colour: Triple) -> Triple:
    """Linear RGB in CIELAB, white being D65."""
    red, green, blue = (min(1.0, max(0.0, part)) for part in colour)
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def seen(colour: str | None, eye: str) -> Triple:
    """A theme's colour as that eye sees it, in CIELAB."""
    parts = linear(hexadecimal(colour))
    red, green, blue = (sum(a * b for a, b in zip(row, parts, strict=True)) for row in EYES[eye])
    return lab((red, green, blue))


def test_the_measures_are_right() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)
    assert lab((1, 1, 1)) == pytest.approx((100, 0, 0), abs=0.1)
    red_and_green = [seen(colour, "deuteranopia") for colour in ("#a05040", "#707030")]
    assert (
        distance(*red_and_green)
        < 15
        < distance(*(lab(linear(hexadecimal(c))) for c in ("#a05040", "#707030")))
    )


def distance(one: Triple, other: Triple) -> float:
    """CIE76."""
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5


@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_the_three_levels_apart(eye: str) -> None:
    levels = {"calm": COLOUR_BLIND.accent, "over": COLOUR_BLIND.warning, "full": COLOUR_BLIND.error}
    for one, other in combinations(levels, 2):
        far = distance(seen(levels[one], eye), seen(levels[other], eye))
        assert far >= LEAST_DISTANCE, (one, other)


def test_the_configuration_takes_these_themes_and_no_other() -> None:
    field = next(field for field in msgspec.structs.fields(Config) if field.name == "theme")
    assert set(get_args(get_args(field.type)[0])) == set(THEMES)
    assert field.default == "dark"


XTERM = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0)),
    *((0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0)),
    *((92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255)),
)
"""The sixteen colours as xterm has them."""


@pytest.mark.parametrize("theme", THEMES)
async def test_a_servers_colour_is_legible_and_beside_the_name(
    server: ThrowawayServer, tmp_path: Path, theme: str
) -> None:
    """In the head and on the wall; in the terminal's own colours, by those of xterm."""
    chosen = ServerColour.ORANGE
    async with dashboard(server, tmp_path / "a", theme=theme, name="prod", color=chosen) as driven:
        head, wall = (driven.dashboard.query_one(f"#{name}", Lines) for name in ("head", "figures"))
        grounds = set()
        for colour in ServerColour:
            style = head.cell_style(f"server-{colour}")
            assert style.color is not None
            assert style.bgcolor is not None
            ink, ground = (
                XTERM[each.number] if each.number is not None else tuple(each.get_truecolor())
                for each in (style.color, style.bgcolor)
            )
            assert contrast(ink, ground) >= LEAST_CONTRAST, colour
            grounds.add(ground)
        assert len(grounds) == len(ServerColour)
        name = head.render_line(0)._segments[0]
        assert (name.text, name.style) == (" prod ", head.rich_style + head.cell_style(f"server-{chosen}"))
        await driven.press("w")
        await driven.pilot.pause()
        large = wall.render_line(2)._segments[0]
        assert "█" in large.text
        assert large.style == name.style


async def test_without_colours_a_servers_colour_is_a_reversed_name(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with dashboard(server, tmp_path / "a", name="prod", color=ServerColour.RED) as driven:
        name = driven.strips[0]._segments[0]
        assert name.text.startswith(" prod ")
        assert name.style is not None
        assert name.style.reverse
        assert (name.style.color, name.style.bgcolor) == (None, None)


def drawn(driven: Driven) -> list[Segment]:
    """All words that stand on the screen as it goes to the terminal; of a dialog, not what lies behind it."""
    strips = driven.strips
    for dialog in driven.app.screen.query("#dialog"):
        place = dialog.region
        strips = [strip.crop(place.x, place.right) for strip in strips[place.y : place.bottom]]
    return [segment for strip in strips for segment in strip if any(map(str.isalnum, segment.text))]


def check_contrast(driven: Driven, where: str) -> None:
    """Every letter and every digit on the screen is legible."""
    found = drawn(driven)
    assert len(found) > 5
    for text, style, _ in found:
        assert style is not None
        assert style.color is not None
        assert style.bgcolor is not None
        ink, ground = style.color.triplet, style.bgcolor.triplet
        assert ink is not None
        assert ground is not None
        ratio = contrast(tuple(ink), tuple(ground))
        assert ratio >= LEAST_CONTRAST, f"{where}: {text!r} {ink.hex} on {ground.hex}: {ratio:.2f}"


def check_ansi(driven: Driven, where: str) -> None:
    """Nothing has a colour but the terminal's own, and it is legible on light and on dark ones.

    And each character has a replacement in ASCII.
    """
    for text, style, _ in (segment for strip in driven.strips for segment in strip):
        for colour in (style.color, style.bgcolor) if style else ():
            assert colour is None or colour.type in (ColorType.DEFAULT, ColorType.STANDARD), (
                f"{where}: {text!r} has {colour}"
            )
        assert not without_ascii(text), f"{where}: {text!r}"
        if any(map(str.isalnum, text)):
            ratio = least_contrast(style)
            assert ratio >= LEAST_ANSI_CONTRAST, f"{where}: {text!r} in {style}: {ratio:.2f}"


async def look_around(driven: Driven, server: ThrowawayServer, theme: Theme) -> None:
    """Opens every screen there is, and an outage at the end."""
    check = check_ansi if theme is ANSI else check_contrast

    async def look(where: str) -> None:
        await driven.pilot.pause()
        check(driven, f"{theme.name}, {where}")

    await look("tables")
    await driven.press("space", "tab")
    await look("applications with the focus, one session tagged")
    await driven.press("w")
    await look("wall")
    await driven.press("w", "slash", "x")
    await look("filter")
    await driven.press("escape", "S")
    await driven.dialog()
    await look("sweep's dialog")
    await driven.press("escape", "A")
    await look("automatic reaping's dialog")
    await driven.press("escape", "enter")
    await look("detail")
    await driven.press("escape", "f1")
    await look("help")
    await driven.press("escape", "p")
    await look("paused")
    await driven.press("p", "ctrl+p")
    await wait_until(lambda: isinstance(driven.app.screen, CommandPalette))
    if theme is ANSI:
        await look("palette")
    await driven.press("escape")
    await wait_until(lambda: driven.app.screen is driven.dashboard)
    server.stop()
    await wait_until(lambda: driven.dashboard.state.outage)
    await look("outage")
    await driven.press("w")
    await look("outage on the wall")


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES.keys())
async def test_every_letter_on_every_screen_is_legible(
    server_factory: ServerFactory, tmp_path: Path, theme: Theme
) -> None:
    """In the terminal's own colours, that is the terminal's affair, and nothing else than those is sent."""
    server = server_factory(SEVENTEEN_SLOTS)
    async with (
        session(server, application_name="txn") as one,
        dashboard(server, tmp_path / "a", theme=theme.name, wall=True) as driven,
    ):
        await one.execute("BEGIN")
        check = check_ansi if theme is ANSI else check_contrast
        for held, word in (
            (0, "below the 80% line"),
            (15, "new connections are refused"),
            (12, "over the 80% line"),
        ):
            async with sessions(server, held, application_name="web"):
                await driven.shows(word)
                await driven.pilot.pause()
                check(driven, f"{theme.name}, {word}")
                if word.startswith("over"):
                    await driven.press("w")
                    await wait_until(lambda: driven.shown and count_stale(driven.shown) >= 12)
                    await look_around(driven, server, theme)


async def test_waiting_for_a_connection_is_legible(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(THREE_SLOTS)
    await execute(server, "CREATE ROLE app LOGIN")
    for theme in THEMES.values():
        check = check_ansi if theme is ANSI else check_contrast
        async with (
            full(server),
            waiting_dashboard(target_of(server, user="app"), tmp_path / "a", theme=theme.name) as driven,
        ):
            for where in ("waiting", "waiting on the wall"):
                await driven.shows("no slot is left" if where == "waiting" else "still trying")
                check(driven, f"{theme.name}, {where}")
                await driven.press("w")


async def test_the_palette_changes_the_theme_to_one_of_ours(server: ThrowawayServer, tmp_path: Path) -> None:
    async with dashboard(server, tmp_path / "a") as driven:
        assert set(driven.app.available_themes) == set(THEMES)
        for name in THEMES:
            driven.app.theme = name
            await driven.pilot.pause()
            await driven.shows("slots")


COLOURED = [theme for theme in THEMES.values() if theme is not ANSI]


def in_sixteen(ink: str | None, ground: str | None) -> float:
    """The least contrast in a terminal that gets the nearest of its own colours, whatever these look like."""
    colour, behind = (Color.parse(each or "").downgrade(ColorSystem.STANDARD) for each in (ink, ground))
    return least_contrast(Style(color=colour, bgcolor=behind))


@pytest.mark.parametrize("theme", COLOURED, ids=lambda theme: theme.name)
def test_the_selected_row_is_legible_in_sixteen_colours(theme: Theme) -> None:
    ink, ground = (theme.variables[f"block-cursor-{part}"] for part in ("foreground", "background"))
    assert in_sixteen(ink, ground) >= LEAST_ANSI_CONTRAST


@pytest.mark.parametrize("theme", COLOURED, ids=lambda theme: theme.name)
def test_every_ink_is_legible_in_sixteen_colours(theme: Theme) -> None:
    inks = (theme.foreground, theme.secondary, theme.accent, theme.warning, theme.error, theme.success)
    for ink in inks:
        for ground in (theme.background, theme.surface, theme.variables["error-muted"]):
            assert in_sixteen(ink, ground) >= LEAST_OF_SIXTEEN, (ink, ground)


def test_the_graphs_layers_stand_out_in_sixteen_colours_on_white() -> None:
    for layer in ("graph-active", "graph-in-transaction", "graph-idle"):
        assert in_sixteen(LIGHT.variables[layer], LIGHT.background) >= LEAST_OF_SIXTEEN, layer


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda theme: theme.name)
def test_no_layer_has_the_colour_of_a_warning_or_an_error(theme: Theme) -> None:
    """The forecast and the lines are drawn in those over the layers."""
    layers = {colour for name, colour in theme.variables.items() if name.startswith("graph-")}
    assert len(layers) == 4
    assert not layers & {theme.warning, theme.error}
