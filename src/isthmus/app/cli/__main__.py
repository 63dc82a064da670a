"""`python -m isthmus.app.cli` is the command `isthmus`."""

from isthmus.app.cli import main

main()
