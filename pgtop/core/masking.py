"""The masking of passwords in text that is shown.

It is needed because a conninfo that is given as a host by mistake comes back in an error message. A password
is found by its place: after the user in a URI, after `password=` and the like, as `PASSWORD '…'` in SQL, or
as the fifth field of a line of ~/.pgpass. A password on its own looks like any other word and is not found.
"""

from typing import Final

_BESIDE_A_PASSWORD: Final = frozenset(":='%")
"""The characters of which at least one is in every text that a password is found in."""


def masked(text: str) -> str:
    """Return a text with `***` in place of what looks like a password.

    >>> masked("postgresql://app:p@ss@db1:5432/shop cannot be reached")
    'postgresql://app:***@db1:5432/shop cannot be reached'
    """
    if _BESIDE_A_PASSWORD.isdisjoint(text):
        return text
    from pgtop.core.password_search import mask_passwords

    return mask_passwords(text)


def masked_value(value: str) -> str:
    """Return one whole value that a person gave, cut off at the beginning of its first password.

    The end of the value is known, unlike that of a value within a sentence, so a password with blanks or
    quotes in it is removed entirely.

    >>> masked_value("postgresql://app:my secret@db1/shop"), masked_value("db1")
    ('postgresql://app:***', 'db1')
    """
    if _BESIDE_A_PASSWORD.isdisjoint(value):
        return value
    from pgtop.core.password_search import mask_value

    return mask_value(value)


def holds_password(value: str) -> bool:
    """Return whether a value looks like one with a password in it."""
    return masked_value(value) != value
