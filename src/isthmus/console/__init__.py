"""The pages people look at: one folder per page."""
