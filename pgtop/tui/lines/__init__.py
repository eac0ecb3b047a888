"""Pure functions from values to lines of text; none needs a widget."""
