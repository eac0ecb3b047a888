"""The names of keys as the screen shows them."""

from typing import Final

_NAMES: Final = {
    "slash": "/",
    "asterisk": "*",
    "space": "Space",
    "escape": "Esc",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "full_stop": ".",
    "comma": ",",
    "left": "←",
    "right": "→",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "question_mark": "?",
}


def key_names(keys: str) -> str:
    """Return the keys of a binding, separated by commas, as a person knows them.

    >>> key_names("slash,f3")
    '/ F3'
    """
    return " ".join(_name(key) for key in keys.split(","))


def _name(key: str) -> str:
    if key in _NAMES:
        return _NAMES[key]
    return key.capitalize() if len(key) > 1 else key
