"""The version of this library, as it is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("corral")
except PackageNotFoundError:  # run from a folder without an installation
    VERSION = "0"
