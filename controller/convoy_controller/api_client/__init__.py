"""A typed client of the REST API, for the command line: the same calls to a URL, or to the application in this process.

- `client`: `FleetClient`, a method for each question and each wish. `structure`: answers back into the views.
- `transport`: how requests travel. `answers`: what is made of an error. `opening`: which of both it is to be.
"""
