"""Serve with the settings of the environment: `python -m isthmus.app.http`."""

from isthmus.app.http.serving import main

main()
