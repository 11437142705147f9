def register(commands: object) -> None:
    """Adds the command."""

