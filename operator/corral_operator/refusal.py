"""What a place where workers run says when it refuses something. Pure."""


class ApiError(Exception):
    """The API server said no, or nothing. `code` is the HTTP status, 0 without an answer.

    `text` says why, for people; `retry_after_s` how long it wants to be left alone, where it says so.
    """

    def __init__(self, code: int, reason: str, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.text = text
        self.retry_after_s = retry_after_s
