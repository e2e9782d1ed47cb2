use super::{CodingAgentKind, CodingAgentStart, Environment, ModelAccess};

#[test]
fn what_is_secret_is_not_printed() {
    let variables = [("TOKEN".to_owned(), "pelikan-4711".to_owned())];
    let environment = Environment(variables.into());
    assert_eq!(format!("{environment:?}"), r#"{"TOKEN"}"#);
    let model = ModelAccess { base_url: "https://a.example".into(), key: "pelikan-4711".into() };
    let start = CodingAgentStart { kind: CodingAgentKind::ClaudeCode, model: Some(model) };
    let printed = format!("{start:?}");
    assert!(printed.contains("a.example") && !printed.contains("pelikan"), "{printed}");
}

#[test]
fn an_environment_is_an_object_of_names_on_the_wire() {
    let environment = Environment([("A".to_owned(), "1".to_owned())].into());
    let text = serde_json::to_string(&environment).unwrap();
    assert_eq!(text, r#"{"A":"1"}"#);
    assert_eq!(serde_json::from_str::<Environment>(&text).unwrap(), environment);
}
