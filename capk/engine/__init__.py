"""The kind command and the container engine; nothing here knows the Kubernetes API."""
