//! Where the program and the repository are, for the tests and for the benches that share their support.

use std::path::Path;

const TESTED: Option<&str> = option_env!("CARGO_BIN_EXE_rialto-tested");
const RELEASED: Option<&str> = option_env!("CARGO_BIN_EXE_rialto");

/// The program. The tests have a build of their own of its `main.rs`; benches measure the one that is released.
pub(crate) const RIALTO: &str = match (TESTED, RELEASED) {
    (Some(path), _) | (None, Some(path)) => path,
    (None, None) => panic!("Cargo builds one of them before this"),
};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    if TESTED.is_some() { package.parent().expect("the tests are in a folder of it") } else { package }
}
