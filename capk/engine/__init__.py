"""The kind command and what stands behind it; nothing here knows the Kubernetes API."""
