"""The people's pages, one folder each, drawn on the server; without script they work, with it they are live."""
