"""A company's own services behind the gate: where they are registered, how they are called, how proxies ask."""
