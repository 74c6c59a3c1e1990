//! The migrations are embedded by a macro, which sees no new file unless the crate is built again.

fn main() {
    println!("cargo:rerun-if-changed=../../schema");
}
