"""What ends `qc2c fetch`, with the exit status that the driver passes on (sysexits.h)."""

EXIT_USAGE = 64
EXIT_BAD_DATA = 65
EXIT_UNAVAILABLE = 69
EXIT_CANNOT_CREATE = 73


class FetchError(Exception):
    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status
