"""The widgets: tables and the graph, painted only where they differ."""
