"""One folder per vendor: its words into ours and back."""
