"""From values to lines of text: pure functions, without a widget."""
