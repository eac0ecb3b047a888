"""The characters that the terminal's ASCII has no replacement for."""

from pgtop.tui.terminal.ascii import has_replacement


def without_ascii(text: str) -> set[str]:
    """Return the characters of a text that ASCII mode does not know, and shows as `?`."""
    return {character for character in text if not has_replacement(character)}
