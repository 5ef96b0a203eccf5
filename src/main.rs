//! headcount.
fn main() {}
