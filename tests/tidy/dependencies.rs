//! Who may know whom: the invariants of the code map in README.md, held for manifests and sources.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use crate::sources::{SOURCES, Violations, top};

/// What a crate of ours may build on: of ours only these, and nothing of the foreign ones named.
struct Allowed {
    package: &'static str,
    ours: &'static [&'static str],
    foreign_never: &'static [&'static str],
}

const ALLOWED: &[Allowed] = &[
    Allowed {
        package: "domain",
        ours: &[],
        foreign_never: &[
            "actix",
            "actix-web",
            "actix-ws",
            "sqlx",
            "reqwest",
            "bollard",
            "tokio",
            "getrandom",
            "rand",
            "postgres-es",
        ],
    },
    Allowed {
        package: "projections",
        ours: &["domain", "planted_bug"],
        foreign_never: &["actix", "actix-web", "actix-ws", "reqwest", "bollard", "postgres-es"],
    },
    Allowed {
        package: "actors",
        ours: &["crash_point", "domain", "projections"],
        foreign_never: &["actix-web", "actix-ws", "sqlx", "bollard", "postgres-es"],
    },
    Allowed {
        package: "api",
        ours: &["actors", "domain", "projections"],
        foreign_never: &["sqlx", "bollard", "aes-gcm", "postgres-es"],
    },
    Allowed {
        package: "agent",
        ours: &["crash_point", "domain", "holder"],
        foreign_never: &["actix", "cqrs-es", "postgres-es", "aes-gcm"],
    },
    Allowed { package: "holder", ours: &[], foreign_never: &["sqlx", "reqwest", "bollard"] },
    Allowed {
        package: "tests",
        ours: &["actors", "agent", "api", "domain", "planted_bug", "projections"],
        foreign_never: &[],
    },
    Allowed { package: "crash_point", ours: &[], foreign_never: &["tokio"] },
    Allowed { package: "planted_bug", ours: &[], foreign_never: &["tokio"] },
    Allowed { package: "xtask", ours: &[], foreign_never: &[] },
];

static PACKAGES: LazyLock<BTreeMap<String, BTreeSet<String>>> = LazyLock::new(|| {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.current_dir(top()).args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let output = metadata.output().expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo answers in JSON");
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    packages.iter().map(|package| (text(&package["name"]), dependencies_of(package))).collect()
});

/// What the package itself is built with; what only its tests use binds nobody.
fn dependencies_of(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().expect("a package lists dependencies");
    let is_normal = |dependency: &&Value| dependency["kind"].is_null();
    dependencies.iter().filter(is_normal).map(|dependency| text(&dependency["name"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a name is text").to_owned()
}

#[test]
fn each_crate_builds_only_on_what_the_code_map_allows() {
    let mut violations = Violations::new(
        "move the code to the crate that may know this (README.md, code map), or change the map",
    );
    for (package, dependencies) in PACKAGES.iter() {
        let Some(allowed) = ALLOWED.iter().find(|allowed| allowed.package == package) else {
            violations.add("tests/tidy/dependencies.rs", 1, &format!("{package} has no row here"));
            continue;
        };
        for dependency in dependencies {
            let is_ours = PACKAGES.contains_key(dependency);
            let is_forbidden = if is_ours {
                !allowed.ours.contains(&dependency.as_str())
            } else {
                allowed.foreign_never.contains(&dependency.as_str())
            };
            if is_forbidden {
                let manifest = manifest_of(package);
                violations.add(manifest, 1, &format!("{package} may not know {dependency}"));
            }
        }
    }
    violations.assert_none();
}

#[test]
fn the_task_runner_uses_no_crate() {
    assert!(
        PACKAGES["xtask"].is_empty(),
        "ops/xtask/Cargo.toml:1: it compiles in a second because it uses std only; keep it so"
    );
}

fn manifest_of(package: &str) -> &'static str {
    let end = format!("{package}/Cargo.toml");
    let found = SOURCES.iter().find(|source| source.path.ends_with(&end));
    found.map_or("Cargo.toml", |source| source.path.as_str())
}

#[test]
fn sql_is_known_to_two_places() {
    let mut violations =
        Violations::new("ask projections (or the agent's journal) for it in the domain's words");
    for source in SOURCES.iter().filter(|source| source.is_rust()) {
        let may_know = ["projections/", "agent/src/journal", "tests/", "ops/xtask/"]
            .iter()
            .any(|place| source.path.starts_with(place));
        if may_know {
            continue;
        }
        for (number, line) in source.code_lines() {
            if line.contains("sqlx::") || line.trim_start().starts_with("use sqlx") {
                violations.add(&source.path, number, line.trim());
            }
        }
    }
    violations.assert_none();
}

/// The files that may know the actor library, which is only passively maintained.
const ACTOR_FILES: &[&str] = &[
    "actors/src/system",
    "actors/src/dispatcher",
    "actors/src/aggregate_actor",
    "actors/src/process_actor",
    "actors/src/process_reader",
    "actors/src/agent_link",
    "api/src/live",
    "api/src/main.rs",
    "tests/",
];

#[test]
fn the_actor_library_stays_behind_a_few_files() {
    let mut violations = Violations::new(
        "keep actix in the actors' own files; others await a plain async function of theirs",
    );
    for source in SOURCES.iter().filter(|source| source.is_rust()) {
        if ACTOR_FILES.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for (number, line) in source.code_lines() {
            let line = line.trim();
            if line.starts_with("use actix::") || line.contains(" actix::") {
                violations.add(&source.path, number, line);
            }
        }
    }
    violations.assert_none();
}
