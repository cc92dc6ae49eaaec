"""The sidecar added to Kubernetes manifests."""
