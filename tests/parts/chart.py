"""The Corral chart as objects: what helm makes of it with given values, without a cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from helm import Helm
    from kubectl import Manifest

    Values = Mapping[str, Any]

CHART = Path(__file__).resolve().parents[2] / "charts" / "corral"


class _Strict(yaml.SafeLoader):
    """Reads YAML as the API server does: a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"keys that stand twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def read_objects(text: str) -> list[Manifest]:
    """The objects of a file with many, in its order."""
    return [found for found in yaml.load_all(text, Loader=_Strict) if found is not None]


def of_kind(objects: Iterable[Manifest], kind: str) -> list[Manifest]:
    return [found for found in objects if found["kind"] == kind]


def only(objects: Iterable[Manifest], kind: str) -> Manifest:
    """The one object of its kind."""
    found = of_kind(objects, kind)
    assert len(found) == 1, f"{len(found)} objects of kind {kind}, not one"
    return found[0]


@dataclass(frozen=True)
class Chart:
    """charts/corral and the helm that reads it."""

    helm: Helm

    def objects(
        self, values: Values | None = None, *flags: str, release: str = "corral", namespace: str = "corral-system"
    ) -> list[Manifest]:
        """What `helm install` would send to the API server, in its order."""
        return read_objects(self.helm(*_template(release, namespace), *flags, stdin=json.dumps(values or {})))

    def pod(self, values: Values | None = None) -> Manifest:
        """The pod template of the operator's Deployment."""
        deployment = only(self.objects(values, "--show-only", "templates/operator-deployment.yaml"), "Deployment")
        template: Manifest = deployment["spec"]["template"]
        return template

    def container(self, values: Values | None = None) -> Manifest:
        """The only container of that pod."""
        (container,) = self.pod(values)["spec"]["containers"]
        assert isinstance(container, dict)
        return container

    def refusal(self, values: Values, *flags: str) -> str:
        """Why helm renders nothing with these values."""
        return self.helm.refusal(*_template("corral", "corral-system"), *flags, stdin=json.dumps(values))

    def lint(self, values: Values) -> str:
        """What `helm lint` says; a HelmError where it warns."""
        return self.helm("lint", "--strict", str(CHART), "--values", "-", stdin=json.dumps(values))

    def notes(self, values: Values | None = None, *, namespace: str = "corral-system") -> str:
        """What helm prints after an installation."""
        command = ("install", "corral", str(CHART), "--namespace", namespace, "--dry-run=client", "--values", "-")
        printed = self.helm(*command, stdin=json.dumps(values or {}))
        return printed.split("\nNOTES:\n", 1)[1]


def _template(release: str, namespace: str) -> tuple[str, ...]:
    return ("template", release, str(CHART), "--namespace", namespace, "--values", "-")
