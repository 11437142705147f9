"""The operator's image: what it is, and that its libraries are whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unpacked_image import UnpackedImage


def test_it_says_what_it_is_and_runs_as_nobody(operator_image: UnpackedImage) -> None:
    config = operator_image.config
    assert "localhost/corral-operator:test" in operator_image.names
    assert (config["Entrypoint"], config["Cmd"]) == (["corral"], ["operator"])
    assert config["User"] == "65532:65532"
    assert config["Labels"]["org.opencontainers.image.title"] == "corral-operator"


def test_its_command_is_there_and_its_libraries_load(operator_image: UnpackedImage) -> None:
    told = operator_image.run("operator", "--help")
    assert (told.returncode, told.stderr) == (0, "")
    loaded = operator_image.run("-c", "import corral_operator.process, kopf, kubernetes", entrypoint=("python3",))
    assert (loaded.returncode, loaded.stderr) == (0, "")


def test_without_a_cluster_it_says_so_and_ends(operator_image: UnpackedImage) -> None:
    told = operator_image.run("operator", "--once")
    assert told.returncode == 2
    assert "KUBECONFIG" in told.stderr
    assert "Traceback" not in told.stderr
