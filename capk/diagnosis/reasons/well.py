"""Reasons of conditions that are as they should be."""

from typing import Final

from capk.api.names import Reason
from capk.diagnosis.reasons.page import Page

_NOTHING: Final = "Nothing."

PAGES: Final = (
    Page(Reason.READY, "The KINDCluster can be used.", "All its conditions are as they should be.", _NOTHING),
    Page(
        Reason.AVAILABLE,
        "The control plane can be used.",
        "The kind cluster is up and its kubeconfig is available.",
        _NOTHING,
    ),
    Page(
        Reason.CREATED,
        "The kind cluster was created completely.",
        "kind succeeded. The message may hold warnings: patches of the spec that have no effect, and nodes that were "
        "not Ready in time.",
        "Read the message. If it is empty, nothing.",
    ),
    Page(
        Reason.JOINED,
        "The worker is a node of the kind cluster.",
        "kubeadm has joined it. Cluster API reports whether the Node is Ready.",
        _NOTHING,
    ),
    Page(Reason.PROVISIONED, "The kubeconfig Secrets are complete.", "The provider has written them.", _NOTHING),
    Page(
        Reason.CONFIGURED,
        "Every node has the mirrors of `spec.registries`.",
        "The provider has written them into the nodes.",
        _NOTHING,
    ),
    Page(Reason.RUNNING, "All node containers run.", "The container engine reports it.", _NOTHING),
    Page(
        Reason.ANSWERING,
        "The API server of the workload cluster answers.",
        "It answered the last health check of the provider.",
        _NOTHING,
    ),
    Page(
        Reason.ENGINE_ANSWERS,
        "The container engine answers.",
        "It answered the last inventory of the provider.",
        _NOTHING,
    ),
    Page(
        Reason.NOT_PAUSED,
        "The provider manages the object.",
        "Neither the Cluster nor the object is paused.",
        _NOTHING,
    ),
    Page(Reason.NOT_DELETING, "The object is not being deleted.", "Its deletion was not requested.", _NOTHING),
)
