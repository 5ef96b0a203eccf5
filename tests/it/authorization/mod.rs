//! Who may do what.

mod kubernetes;
