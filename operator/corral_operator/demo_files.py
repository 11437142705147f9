"""Where the demo's pools and workers lie: files that a reader can take, in the repository and in an installed wheel."""

from pathlib import Path

from corral.errors import ConfigurationError

POOLS = "pools.yaml"

INSTALLED = Path(__file__).with_name("examples")
"""Where a wheel has them (`pyproject.toml` says so)."""

CHECKOUT = Path(__file__).resolve().parents[2] / "manifests" / "examples" / "demo"


def find_files() -> Path:
    """The folder with `pools.yaml` and the modules that it names. Raises ConfigurationError where they were left out."""
    for folder in (INSTALLED, CHECKOUT):
        if (folder / POOLS).is_file():
            return folder
    raise ConfigurationError(f"the demo's files were left out of this installation: no {POOLS} in {INSTALLED}")
