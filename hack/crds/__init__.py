"""Generator of the CRDs: one Python description of the API, written as YAML by `python -m hack.crds`.

KINDCluster and KINDClusterTemplate share one schema, so it is here once instead of twice in YAML. This package is not
part of the product.
"""
