"""The start of the process: of the script `pgtop`, and of `python -m pgtop`."""

import gc
from typing import NoReturn


def start() -> NoReturn:
    """Import the command line, run it, and exit."""
    gc.disable()  # collecting during the imports would find no garbage
    from pgtop.commands.main import main

    gc.freeze()  # what was imported stays, and need not be examined, not even at the exit
    gc.enable()
    main()


if __name__ == "__main__":
    start()
