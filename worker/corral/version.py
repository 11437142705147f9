"""The version of this library, as it is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("corral")
except PackageNotFoundError:  # run from a folder without an installation
    __version__ = "0"
