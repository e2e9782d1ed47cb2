//! What an idea is called: the beginning of its text, or what somebody made of it; one short line.

/// How many characters a title has at most.
pub const TITLE_CHARS_MAX: usize = 100;

/// The title of a text: its first line that says anything, cut.
pub fn cut_title(text: &str) -> String {
    on_one_line(text.trim_start().lines().next().unwrap_or_default())
}

/// The beginning of a text, on one line.
pub fn on_one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= TITLE_CHARS_MAX {
        return line;
    }
    let cut: String = line.chars().take(TITLE_CHARS_MAX - 1).collect();
    format!("{}…", cut.trim_end())
}

/// Whether a text is too long to be its own title.
pub fn is_too_long(text: &str) -> bool {
    text.trim().chars().count() > TITLE_CHARS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_of_a_hundred_characters_at_most() {
        assert_eq!(cut_title("\n Fix  the\ttests \nall of them"), "Fix the tests");
        assert_eq!(on_one_line(" Fix\n the  tests "), "Fix the tests");
        let long = cut_title(&"ä".repeat(200));
        assert_eq!(long.chars().count(), TITLE_CHARS_MAX);
        assert!(long.ends_with('…'));
        assert_eq!(cut_title(&"ä".repeat(100)), "ä".repeat(100));
    }

    #[test]
    fn a_text_of_a_hundred_characters_is_its_own_title() {
        assert!(!is_too_long(&format!(" {}\n", "ä".repeat(100))));
        assert!(is_too_long(&"a".repeat(101)));
    }
}
