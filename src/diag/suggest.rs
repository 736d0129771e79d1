//! Near names for "did you mean".

/// The candidate nearest to `name`, when it is near enough to be a slip of the finger.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, candidate)| (*distance, *candidate))
        .map(|(_, candidate)| candidate)
}

/// The same as a sentence for a hint or a caret label: "did you mean `mode`?".
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_leaves_strangers() {
        let names = ["mode", "owner", "path", "state"];
        assert_eq!(nearest("moed", names), Some("mode"));
        assert_eq!(nearest("ownr", names), Some("owner"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("mode", names), None);
    }
}
