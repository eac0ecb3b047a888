"""The stacked area is exact to an eighth of a row, and its layers are told apart by every means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.tui.lines.graph_area import (
    BLANK,
    BLOCKS,
    LAYERS,
    Canvas,
    Ink,
    Run,
    Shading,
    Stack,
    column_cells,
    glyph,
    stack,
)

BARE = Canvas(1, 5, 40.0)
"""Five rows, a session to an eighth, no lines."""
LINED = Canvas(1, 5, 100.0, warn_count=80, slots=100)


def cells(
    layers: Stack | None,
    canvas: Canvas = BARE,
    shading: Shading = Shading.COLOUR,
    has_dash: bool = True,
) -> tuple[Run, ...]:
    """The cells of one column, from the lowest up."""
    return column_cells(layers, canvas, shading, has_dash)[::-1]


def area(*counts: int, canvas: Canvas = BARE) -> Stack:
    """Active, in transaction, idle and other sessions as layers."""
    return stack(tuple(zip(LAYERS, counts, strict=False)), canvas)


@given(st.lists(st.integers(0, 30), min_size=4, max_size=4), st.integers(1, 20), st.integers(1, 200))
def test_each_edge_is_the_sum_below_it_to_an_eighth(counts: list[int], rows: int, top: int) -> None:
    """The upper edge of each layer is where its count and those below it add up to."""
    canvas = Canvas(1, rows, float(top))
    layers = stack(tuple(zip(LAYERS, counts, strict=False)), canvas)
    edges = [edge for _, edge in layers]
    assert edges == sorted(set(edges))
    for ink, edge in layers:
        total = sum(counts[: LAYERS.index(ink) + 1])
        assert abs(edge - min(rows * 8, rows * 8 * total / top)) <= 0.5 or (total < top and edge == 1)
    assert bool(layers) == (sum(counts) > 0)


def test_the_blocks_add_up_to_the_total() -> None:
    """3 active, 2 in transaction, 8 idle: 13 eighths, the upper cell is filled by five of them."""
    lowest, second, third, *_ = cells(area(3, 2, 8))
    assert lowest == ("▃", Ink.ACTIVE, Ink.IDLE)
    assert second == ("▅", Ink.IDLE, None)
    assert third == BLANK


@pytest.mark.parametrize("active", range(1, 8))
def test_an_edge_between_layers_lies_on_its_eighth(active: int) -> None:
    """The block has the lower layer's colour, its ground the upper layer's."""
    assert cells(area(active, 0, 20))[0] == (BLOCKS[active], Ink.ACTIVE, Ink.IDLE)


def test_of_three_layers_in_a_cell_the_two_largest_show() -> None:
    """One session in transaction between four active and three idle ones has no cell of its own."""
    assert cells(area(4, 1, 11))[0] == ("▄", Ink.ACTIVE, Ink.IDLE)
    assert cells(area(1, 4, 11))[0] == ("▅", Ink.IN_TRANSACTION, Ink.IDLE)


def test_one_session_of_many_is_an_eighth() -> None:
    """Where there is a session, the area is not empty."""
    assert stack(((Ink.ACTIVE, 0), (Ink.IDLE, 1)), Canvas(1, 3, 5_000.0)) == ((Ink.IDLE, 1),)
    assert stack(((Ink.ACTIVE, 0), (Ink.IDLE, 0)), Canvas(1, 3, 5_000.0)) == ()


@pytest.mark.parametrize("shading", Shading)
def test_unknown_columns_are_blank(shading: Shading) -> None:
    """A gap in the data is a gap in the area."""
    assert set(cells(None, shading=shading)) == {BLANK}


@pytest.mark.parametrize("shading", [Shading.PLAIN, Shading.ASCII])
def test_the_layers_differ_without_colour(shading: Shading) -> None:
    """Each has a character of its own; hidden states stand alone."""
    glyphs = [glyph(ink, shading) for ink in LAYERS[:-1]]
    assert len(set(glyphs)) == 4
    drawn = cells(area(8, 8, 8, 8), shading=shading)
    assert [text for text, _, _ in drawn] == [*glyphs, " "]
    assert {ground for _, _, ground in drawn} == {None}


def test_ascii_fills_a_cell_from_half_on() -> None:
    """A low layer is never lost in the lowest row."""
    drawn = "".join(text for text, _, _ in cells(area(0, 0, 11), shading=Shading.ASCII))
    assert drawn == ":    "
    assert "".join(text for text, _, _ in cells(area(0, 0, 12), shading=Shading.ASCII)) == "::   "
    assert cells(area(1), shading=Shading.ASCII)[0][0] == "#"


@pytest.mark.parametrize(
    ("total", "row", "line"),
    [
        (60, 3, ("▔", Ink.WARN_LINE, None)),
        (79, 4, ("▁", Ink.WARN_LINE, None)),
        (80, 4, ("▁", Ink.WARN_LINE, None)),
        (84, 3, ("▔", Ink.WARN_LINE, Ink.IDLE)),
    ],
)
def test_the_line_keeps_its_height_beside_and_over_the_area(total: int, row: int, line: Run) -> None:
    """It is the upper edge of a row; where the area ends within it, the lower edge of the row above."""
    drawn = cells(area(0, 0, total, canvas=LINED), LINED)
    assert [(n, cell) for n, cell in enumerate(drawn) if cell[1] is Ink.WARN_LINE] == [(row, line)]


def test_the_full_line_shows_over_a_full_area() -> None:
    """It has the area's colour as its ground."""
    assert cells(area(0, 0, 100, canvas=LINED), LINED)[4] == ("▔", Ink.FULL_LINE, Ink.IDLE)
    assert cells(area(0, 0, 50, canvas=LINED), LINED, has_dash=False)[4] == ("▔", Ink.FULL_LINE, None)
    assert cells(area(0, 0, 90, canvas=LINED), LINED)[4] == ("▄", Ink.IDLE, Ink.FULL_GROUND)


@pytest.mark.parametrize("shading", [Shading.PLAIN, Shading.ASCII])
def test_the_full_line_goes_on_over_a_cell_that_shades_leave_blank(shading: Shading) -> None:
    """The row of the full line is blank there otherwise."""
    assert cells(area(0, 0, 82, canvas=LINED), LINED, shading)[4][1:] == (Ink.FULL_LINE, None)
    assert cells(area(0, 0, 95, canvas=LINED), LINED, shading)[4][1] is Ink.IDLE


@pytest.mark.parametrize("shading", Shading)
def test_the_lines_share_no_row(shading: Shading) -> None:
    """Of two rows next to each other, each has one of them: the full line is whole."""
    dash, space = cells((), LINED, shading), cells((), LINED, shading, has_dash=False)
    assert dash[4] == space[4]
    assert dash[4][1:] == (Ink.FULL_LINE, None)
    assert dash[3][1:] == (Ink.WARN_LINE, None)


@pytest.mark.parametrize("shading", [Shading.COLOUR, Shading.PLAIN])
def test_their_dashes_take_turns_where_the_area_ends_below_them(shading: Shading) -> None:
    """The row of the 80% line is taken there."""
    layers = area(0, 0, 79, canvas=LINED)
    assert cells(layers, LINED, shading)[4][1:] == (Ink.WARN_LINE, None)
    assert cells(layers, LINED, shading, has_dash=False)[4][1:] == (Ink.FULL_LINE, None)
