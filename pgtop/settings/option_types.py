"""Options with their help section and their variable `PGTOP_<OPTION>`, and the types of their values."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click
from click.core import ParameterSource

from pgtop.core.masking import masked_value
from pgtop.core.text import clip, parse_duration, printable
from pgtop.errors import UsageError
from pgtop.settings.defaults_and_bounds import Given

OUTPUT: Final = "Output"
SERVER: Final = "Server and workload"
CONNECTION: Final = "Connection"
RECORDING: Final = "Recordings"
SETTINGS: Final = "Settings"
RULES: Final = "Sessions to terminate"
OTHER: Final = "Other"
VARIABLES: Final = "PGTOP_"


_FRACTION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,15})?|\.[0-9]{1,15}) ?(%?)")


class Option(click.Option):
    """An option in a section of the help. Its variable is named after its long flag."""

    def __init__(self, flags: Sequence[str], *, section: str, has_variable: bool = True, **rest: Any) -> None:
        self.section = section
        self.long_flag = next(flag for flag in flags if flag.startswith("--"))
        self.variable = VARIABLES + self.long_flag[2:].replace("-", "_").upper()
        super().__init__(flags, envvar=self.variable if has_variable else None, **rest)

    def source(self, context: click.Context | None) -> str:
        """Return its name for an error message: the flag or the variable, whichever gave the value."""
        origin = context.get_parameter_source(self.name or "") if context else None
        return self.variable if origin is ParameterSource.ENVIRONMENT else self.long_flag


if TYPE_CHECKING:  # generic for the type checker only: older versions of click do not support it
    from click.shell_completion import CompletionItem

    _SettingType: TypeAlias = click.ParamType[Given]
    _TextType: TypeAlias = click.ParamType[str]
else:
    _SettingType = _TextType = click.ParamType


def _source(param: click.Parameter | None, ctx: click.Context | None) -> str:
    return param.source(ctx) if isinstance(param, Option) else "the value"


class _Setting(_SettingType):
    """A value of the configuration. It is read here and checked in `config.in_force`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Given:
        """Return the value with its text and its source. It raises UsageError, which names the source."""
        if isinstance(value, Given):
            return value
        source = _source(param, ctx)
        try:
            return Given(self.read(value), value, source)
        except ValueError as error:
            raise UsageError(source, str(error)) from error

    def read(self, text: str) -> object:
        """Return the value of a text. It raises ValueError, which says what is accepted."""
        return text


class Duration(_Setting):
    """A duration: seconds, or a number with a unit."""

    name = "duration"

    def read(self, text: str) -> object:
        """Return the seconds. It raises ValueError."""
        return parse_duration(text)


class Fraction(_Setting):
    """A fraction, written as such or as a percentage."""

    name = "fraction"

    def read(self, text: str) -> object:
        """Return the fraction. It raises ValueError.

        >>> Fraction().read("80%"), Fraction().read("0.8")
        (0.8, 0.8)
        """
        found = _FRACTION.fullmatch(text.strip())
        if found is None:
            shown = clip(printable(masked_value(text)), 40)
            raise ValueError(
                f'"{shown}" is not a fraction: give one such as 0.8, or a percentage such as 80%'
            )
        return float(found[1]) / (100 if found[2] else 1)


class Number(_Setting):
    """A whole number."""

    name = "number"

    def read(self, text: str) -> object:
        """Return the number. It raises ValueError."""
        digits = text.strip()
        if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
            raise ValueError(f'"{clip(printable(masked_value(text)), 40)}" is not a whole number')
        return int(digits)


_SIZE: Final = re.compile(r"([0-9]{1,12}) ?([kKmMgG]?)(i?[bB])?")


class Size(_Setting):
    """A size: bytes, or a number with a unit."""

    name = "size"

    def read(self, text: str) -> object:
        """Return the bytes. It raises ValueError.

        >>> Size().read("65536"), Size().read("16MiB"), Size().read("16 MB")
        (65536, 16777216, 16777216)
        """
        found = _SIZE.fullmatch(text.strip())
        if found is None:
            shown = clip(printable(masked_value(text)), 40)
            raise ValueError(f'"{shown}" is not a size: give bytes, or a number with kB, MB or GB')
        return int(found[1]) * 1024 ** " KMG".index(found[2].upper() or " ")


class Word(_Setting):
    """A text, unchanged. The configuration decides which texts are accepted."""

    name = "word"

    def __init__(self, values: Callable[[], Iterable[str]] = tuple) -> None:
        """`values` gives the accepted texts, if they are few: a shell completes them."""
        self._values = values

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[Any]]":
        """Return the accepted texts that begin with what is typed."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(value) for value in self._values() if value.startswith(incomplete)]


class Words(Word):
    """One of several texts. In the variable they are separated by commas."""

    envvar_list_splitter = ","

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Return the texts of a variable, without the blanks around them."""
        return [word.strip() for word in rv.split(",") if word.strip()]


class FilePath(_Setting):
    """The path of a file, or `-`."""

    name = "path"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[Any]]":
        """Leave it to the shell, which knows the files."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class Port(_TextType):
    """A port, or one for each of several hosts. It stays a text, as in a conninfo."""

    name = "port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text itself. It raises UsageError, which names the source, if a part is not a port."""
        text = str(value)
        for part in text.split(","):
            digits = part.strip()
            if digits and not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:9]) <= 65_535):
                problem = f'{_source(param, ctx)} "{clip(printable(masked_value(text)), 40)}" is not a port'
                raise UsageError(problem, "give a number from 1 to 65535")
        return text
