"""The style, the script and the icon of all pages."""
