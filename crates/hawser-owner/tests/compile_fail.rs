//! What does not compile: acting without having been admitted.

#[test]
fn ownership_cannot_be_claimed_only_proven() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
