"""Pictures: SVG written out by hand, each a function of what it shows."""
