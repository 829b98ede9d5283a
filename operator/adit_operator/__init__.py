"""The kopf edge: custom resources in, Kubernetes Jobs out, status back."""
