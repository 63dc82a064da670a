"""A company's own services behind the gate: what is decided about them without input or output."""
