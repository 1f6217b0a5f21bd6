//! Names of parameters: patterns that choose some of them, and the nearest name where one is mistyped.

/// The beginning of a dotted name: `fc1`, `block1.attention`, `block*.norm1`, `module.`.
///
/// `*` stands for any characters but a dot. What follows the match must begin with a dot or be nothing, unless the pattern itself
/// ends in a dot or is empty: `fc1` is not the beginning of `fc10.weight`.
pub(crate) struct Pattern<'p> {
    /// What stands between the stars.
    pieces: Vec<&'p str>,
}

/// What each star stood for, and what follows the match.
pub(crate) type Matched<'n> = (Vec<&'n str>, &'n str);

impl<'p> Pattern<'p> {
    pub(crate) fn new(pattern: &'p str) -> Pattern<'p> {
        Pattern { pieces: pattern.split('*').collect() }
    }

    /// Number of stars.
    pub(crate) fn stars(&self) -> usize {
        self.pieces.len() - 1
    }

    /// The shortest match at the beginning of a name.
    pub(crate) fn find<'n>(&self, name: &'n str) -> Option<Matched<'n>> {
        let (first, others) = self.pieces.split_first()?;
        let mut stars = Vec::new();
        let rest = self.after(others, name.strip_prefix(first)?, &mut stars)?;
        stars.reverse();
        Some((stars, rest))
    }

    /// Where the pieces left match the rest of a name; gives what each star took, the last one first.
    fn after<'n>(&self, pieces: &[&str], rest: &'n str, stars: &mut Vec<&'n str>) -> Option<&'n str> {
        let Some((piece, others)) = pieces.split_first() else {
            let whole = self.pieces.last().is_some_and(|last| last.ends_with('.')) || self.pieces == [""];
            return (whole || rest.is_empty() || rest.starts_with('.')).then_some(rest);
        };
        let within = rest.find('.').unwrap_or(rest.len());
        for end in (0..=within).filter(|&end| rest.is_char_boundary(end)) {
            if let Some(after) = rest[end..].strip_prefix(piece)
                && let Some(found) = self.after(others, after, stars)
            {
                stars.push(&rest[..end]);
                return Some(found);
            }
        }
        None
    }
}

/// Longer names are compared by their beginnings: they come from files.
const COMPARED: usize = 120;

/// The candidate that the fewest changed, added or removed letters turn into `name`; the first of several.
pub(crate) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    candidates.into_iter().min_by_key(|candidate| edits(name, candidate))
}

/// ` (nearest: …)`, or nothing without candidates.
pub(crate) fn hint<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |found| format!(" (nearest: {found})"))
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(COMPARED).collect(), b.chars().take(COMPARED).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{Pattern, edits, nearest};

    fn found(pattern: &str, name: &str) -> Option<String> {
        Pattern::new(pattern).find(name).map(|(stars, rest)| format!("{} + {rest}", stars.join(",")))
    }

    #[test]
    fn a_pattern_is_the_beginning_of_a_name_at_a_dot() {
        let some = |text: &str| Some(text.to_string());
        assert_eq!(found("fc1", "fc1.weight"), some(" + .weight"));
        assert_eq!(found("fc1", "fc10.weight"), None);
        assert_eq!(found("fc1.weight", "fc1.weight"), some(" + "));
        assert_eq!(found("module.", "module.fc1.weight"), some(" + fc1.weight"));
        assert_eq!(found("module.", "modules.fc1.weight"), None);
        assert_eq!(found("", "fc1.weight"), some(" + fc1.weight"));
        assert_eq!(found("block*.norm*", "block12.norm2.weight"), some("12,2 + .weight"));
        assert_eq!(found("block*", "block12.norm2.weight"), some("12 + .norm2.weight"));
        assert_eq!(found("*", "block12.norm2.weight"), some("block12 + .norm2.weight"));
        assert_eq!(found("h.*.attn.", "h.3.attn.c_proj.bias"), some("3 + c_proj.bias"));
        assert_eq!(found("h.*.attn", "h.3.4.attn.bias"), None, "a star does not pass a dot");
        assert_eq!(found("*a*b", "aab.c"), some(",a + .c"));
        assert_eq!(found("é*", "éü.x"), some("ü + .x"));
    }

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, distance) in [("kitten", "sitting", 3), ("", "abc", 3), ("fc1", "fc1", 0), ("flaw", "lawn", 2), ("é", "e", 1)]
        {
            assert_eq!((edits(a, b), edits(b, a)), (distance, distance), "{a} {b}");
        }
        assert_eq!(nearest("fc2.weigth", ["fc1.weight", "fc2.weight", "fc2.bias"]), Some("fc2.weight"));
        assert_eq!(nearest("x", []), None);
    }
}
