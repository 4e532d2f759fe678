"""What a simulated world is broken by. Pure."""


class BrokenInvariantError(AssertionError):
    """Something happened that must never happen."""


class LivenessError(AssertionError):
    """Somebody who could have got it did not, in time."""
