"""The catalog of published relations, and the mathematics of attribution, forecast and scoring."""
