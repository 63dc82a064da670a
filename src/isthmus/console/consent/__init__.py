"""A person's word: letting programs and devices in, seeing which were let in, and ending that."""
