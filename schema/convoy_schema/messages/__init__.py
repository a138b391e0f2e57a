"""One frozen dataclass for each message; the module says who speaks, the docstring which way."""
