"""Passkeys at the door, and proving oneself again before something that matters."""
