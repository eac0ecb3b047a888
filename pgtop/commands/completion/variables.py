"""The variables in which a shell's script asks for completions."""

from typing import Final

VARIABLE: Final = "_PGTOP_COMPLETE"
"""The shell's name: pgtop then prints completions, and nothing else."""
LINE: Final = "_PGTOP_LINE"
"""The line typed so far, up to the cursor."""
BREAKS: Final = "_PGTOP_BREAKS"
"""The characters at which the shell splits a word; it inserts what follows the last."""
