//! Simulated Kubernetes API.
