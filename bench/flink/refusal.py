"""Why the comparison doesn't go on, in one line."""


class Refusal(Exception):
    """Names the thing, the place and the mend; no stack trace is shown for it."""
