//! The macro's error messages. Each case is in `ui/`, next to its expected messages.

#[test]
fn mistakes_are_explained_at_their_token() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
