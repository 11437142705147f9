"""Somebody else that writes the replicas of a Deployment. Pure."""

from typing import NamedTuple


class Autoscaler(NamedTuple):
    """`kind` is HorizontalPodAutoscaler or ScaledObject, `target` the name of the Deployment that it scales."""

    kind: str
    name: str
    target: str
