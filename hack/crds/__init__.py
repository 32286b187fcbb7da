"""Generator of the CRDs: one Python description of the API, written as YAML by `python -m hack.crds`.

KINDCluster and KINDClusterTemplate share one schema, so it stands once, here, and not twice in YAML. Nothing in this
package runs in the product.
"""
