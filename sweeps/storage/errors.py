"""What can go wrong with what is stored, apart from wrong input."""


class StoreError(Exception):
    """The result set cannot be written or read: says which file and what to do."""


class TryAgain(StoreError):
    """Nothing is wrong with what was asked for, and the same command may succeed later: programs exit with 75."""


class Waits(TryAgain):
    """A share has trained what it can: the others of its runs start from runs of other shares."""
