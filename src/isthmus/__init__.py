"""isthmus: the land bridge between a company's revenue systems."""
