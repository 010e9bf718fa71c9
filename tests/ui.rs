//! What the macro says to a mistake. Each case lies in `ui/`, beside the words it expects.

#[test]
fn mistakes_are_explained_at_their_token() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
