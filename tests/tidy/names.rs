//! Names of types say what a thing is; some words say nothing.

use crate::sources::{SOURCES, Violations};

const EMPTY_WORDS: [&str; 6] = ["Manager", "Helper", "Util", "Service", "Data", "Info"];
const RUST_KEYWORDS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];
const TYPESCRIPT_KEYWORDS: [&str; 4] = ["class", "interface", "type", "enum"];

#[test]
fn type_names_contain_no_empty_words() {
    let mut violations =
        Violations::new("say what it is or does; the glossary in ops/style.md has the words");
    for source in SOURCES.iter().filter(|source| source.is_code()) {
        let keywords: &[&str] =
            if source.is_rust() { &RUST_KEYWORDS } else { &TYPESCRIPT_KEYWORDS };
        for (number, line) in source.lines() {
            let Some(name) = defined_type(line, keywords) else { continue };
            if words_of(name).iter().any(|word| EMPTY_WORDS.contains(&word.as_str())) {
                violations.add(&source.path, number, name);
            }
        }
    }
    violations.assert_none();
}

/// The name of the type that a line defines, if it defines one.
fn defined_type<'line>(line: &'line str, keywords: &[&str]) -> Option<&'line str> {
    let mut words = line.split_whitespace().skip_while(|word| {
        word.starts_with("pub")
            || ["crate)", "super)", "export", "default", "abstract", "declare"].contains(word)
    });
    let keyword = words.next()?;
    if !keywords.contains(&keyword) {
        return None;
    }
    let name = words.next()?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    let name = &name[..end];
    name.starts_with(char::is_uppercase).then_some(name)
}

/// `NodeDirectory` is `Node` and `Directory`.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if !letter.is_uppercase() => word.push(letter),
            _ => words.push(letter.to_string()),
        }
    }
    words
}

#[test]
fn definitions_are_recognised_and_uses_are_not() {
    assert_eq!(defined_type("pub(crate) struct NodeInfo<T> {", &RUST_KEYWORDS), Some("NodeInfo"));
    assert_eq!(defined_type("export interface Props {", &TYPESCRIPT_KEYWORDS), Some("Props"));
    assert_eq!(defined_type("use actix_web::web::Data;", &RUST_KEYWORDS), None);
    assert_eq!(defined_type("fn type_of(info: Info) {", &RUST_KEYWORDS), None);
    assert_eq!(words_of("DatabaseUrl"), ["Database", "Url"]);
}
