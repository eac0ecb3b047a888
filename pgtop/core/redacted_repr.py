"""Structs that hold secrets and do not show them, neither in a log nor in the output of a crash."""

from typing import Any, ClassVar

import msgspec


class Redacted(msgspec.Struct, frozen=True):
    """A struct whose repr, plain or as rich prints it in a traceback, leaves its secrets out."""

    SECRETS: ClassVar[frozenset[str]] = frozenset()
    """The fields that are shown as `***` if they are not None."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        fields = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(n, "***" if n in self.SECRETS and value is not None else value) for n, value in fields]
