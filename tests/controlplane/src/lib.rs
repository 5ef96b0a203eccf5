//! Real control plane.
