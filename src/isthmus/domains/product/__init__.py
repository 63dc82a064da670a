"""What customers do in the product, ask of it, and are told about it."""
