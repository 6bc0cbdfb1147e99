//! Revisions and their eras: `initialize` never opens the modern one.

use hawser_mcp::{Era, Revision};
use proptest::prelude::*;

#[test]
fn every_revision_has_its_name_and_one_era() {
    for revision in Revision::ALL {
        assert_eq!(Revision::from_name(revision.as_str()), Some(revision));
        assert_eq!(revision.is_legacy(), !revision.is_modern());
        assert_eq!(revision.is_modern(), revision.era() == Era::Modern);
        assert_eq!(Revision::LEGACY.contains(&revision), revision.is_legacy());
        assert_eq!(Revision::MODERN.contains(&revision), revision.is_modern());
    }
    assert_eq!(Revision::LATEST, Revision::V2025_11_25);
    assert_eq!(Revision::LATEST_MODERN, Revision::V2026_07_28);
    assert!(Revision::ALL.is_sorted(), "oldest first");
}

#[test]
fn initialize_negotiates_legacy_revisions_only() {
    for revision in Revision::LEGACY {
        assert_eq!(Revision::negotiate(revision.as_str()), revision);
    }
    assert_eq!(Revision::negotiate("2026-07-28"), Revision::LATEST);
    assert_eq!(Revision::negotiate("2024-11-05"), Revision::LATEST);
}

proptest! {
    #[test]
    fn whatever_is_asked_for_the_answer_is_a_legacy_revision(name: String) {
        prop_assert!(Revision::negotiate(&name).is_legacy());
    }
}
