"""Which jobs there are, which of them are scheduled by themselves, and who runs them."""
