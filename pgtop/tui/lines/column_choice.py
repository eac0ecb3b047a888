"""The columns of a list that a person has hidden or wants to see, whatever the width would drop."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pgtop.tui.lines.column_widths import Column

_LAST: Final = 1000
"""An order behind that of all columns that nobody has chosen."""


class ColumnChoice(NamedTuple):
    """Two sets of columns by their keys; no column is in both."""

    hidden: frozenset[str] = frozenset()
    wanted: frozenset[str] = frozenset()

    def hide(self, key: str) -> "ColumnChoice":
        """Return the choice with a column hidden."""
        return ColumnChoice(self.hidden | {key}, self.wanted - {key})

    def want(self, key: str) -> "ColumnChoice":
        """Return the choice with a column that is the last to be dropped."""
        return ColumnChoice(self.hidden - {key}, self.wanted | {key})

    def of(self, columns: Sequence[Column]) -> list[Column]:
        """Return the columns without the hidden ones; the wanted ones are dropped last.

        >>> one, other = Column("one", "one", 4, drop=1), Column("other", "other", 4)
        >>> [column.key for column in ColumnChoice().hide("one").of([one, other])]
        ['other']
        >>> [column.drop for column in ColumnChoice().want("one").of([one, other])]
        [0, 0]
        """
        return [
            column._replace(drop=0, squeezed=_LAST + column.squeezed) if column.key in self.wanted else column
            for column in columns
            if column.key not in self.hidden
        ]
