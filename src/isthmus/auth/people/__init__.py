"""People who sign in: who they are, how they prove it, and how they come back when they lost what proves it."""
