"""How customers fare, and what is done when they do not."""
