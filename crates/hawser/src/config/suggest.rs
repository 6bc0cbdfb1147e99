//! "Did you mean …?"

/// The candidate nearest to what was written, if it is near enough to be a slip.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower: String = written.to_ascii_lowercase().replace('-', "_").chars().take(64).collect();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(3) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Candidates as a phrase: `a`, `b` or `c`.
pub(super) fn one_of(candidates: &[&str]) -> String {
    match candidates {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [rest @ .., last] => {
            let rest: Vec<String> = rest.iter().map(|name| format!("`{name}`")).collect();
            format!("{} or `{last}`", rest.join(", "))
        }
    }
}

/// "did you mean `x`?", or what there is to choose from.
pub(super) fn did_you_mean(written: &str, candidates: &[&str]) -> String {
    match nearest(written, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("expected {}", one_of(candidates)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        assert_eq!(nearest("backens", ["listen", "backends"]), Some("backends"));
        assert_eq!(nearest("public-url", ["public_url", "listen"]), Some("public_url"));
        assert_eq!(nearest("Listen", ["public_url", "listen"]), Some("listen"));
        assert_eq!(nearest("zzzzzz", ["listen", "backends"]), None);
        assert_eq!(did_you_mean("x", &["file", "memory"]), "expected `file` or `memory`");
    }
}
