"""python -m pgtop."""

from pgtop.cli import main

if __name__ == "__main__":
    main()
