"""Third-party programs that isthmus is shown with and tested against, each in an environment and process of its own."""
