//! What ARCHITECTURE.md and docs/configuration.md say of the code is so.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each crate and what it may depend on; nothing else.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("wire", &["domain"]),
    ("runtime", &[]),
    ("stack", &[]),
    ("database", &["runtime"]),
    ("eventlog", &["domain", "wire", "runtime"]),
    ("identity", &["domain", "runtime", "database"]),
    ("media", &["domain", "runtime", "database"]),
    ("readmodel", &["domain", "wire", "database"]),
    ("projection", &["domain", "wire", "runtime", "database", "eventlog"]),
    ("front", &["domain", "wire", "runtime", "database", "eventlog", "identity", "media", "readmodel"]),
    // It measures the crates' parts and the processes, from outside the front.
    (
        "bench",
        &[
            "domain",
            "wire",
            "runtime",
            "stack",
            "database",
            "eventlog",
            "identity",
            "readmodel",
            "projection",
        ],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The allowed licences of `deny.toml`, one a line there.
fn allowed_licences() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = text.split("\nallow = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    list.split(',')
        .map(|item| item.trim().trim_matches('"').to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

/// `cargo deny` checks more, where it is installed; this much is checked everywhere.
#[test]
fn every_dependency_has_an_allowed_licence_and_comes_from_the_registry() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap();
    let allowed = allowed_licences();
    assert!(allowed.contains("MIT"));
    for package in metadata.packages.iter().filter(|package| package.source.is_some()) {
        let source = package.source.as_ref().unwrap();
        assert!(source.is_crates_io(), "{} comes from {source}", package.name);
        let licence = package.license.as_deref().unwrap_or_default();
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).unwrap();
        let fits = expression.evaluate(|requirement| allowed.contains(&requirement.to_string()));
        assert!(fits, "{} is under {licence}", package.name);
    }
}

#[test]
fn crates_depend_only_on_what_lies_below_them() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in metadata.packages {
        let Some(name) = package.name.strip_prefix("natterjack-") else { continue };
        let Some(allowed) = allowed.get(name) else { continue };
        let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
        for dependency in normal.filter_map(|d| d.name.strip_prefix("natterjack-")) {
            assert!(allowed.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs")
            && path.file_stem().is_some_and(|s| s != "tests")
        {
            found.push(path);
        }
    }
}

/// Names of settings in a text: `NATTERJACK_` and what follows, up to the first character that is none of a name's.
fn settings(text: &str) -> BTreeSet<String> {
    text.match_indices("NATTERJACK_")
        .map(|(at, _)| {
            let name =
                text[at..].chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_');
            name.collect::<String>()
        })
        .filter(|name| !name.ends_with('_'))
        .collect()
}

#[test]
fn every_setting_is_documented_and_every_documented_setting_exists() {
    let mut files = vec![];
    for part in ["runtime", "database", "eventlog", "identity", "media", "front", "projection", "stack"] {
        sources(&root().join("crates").join(part).join("src"), &mut files);
    }
    sources(&root().join("cmd"), &mut files);
    let mut read = BTreeSet::new();
    for file in files.iter().filter(|file| !file.components().any(|c| c.as_os_str() == "tests")) {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        read.extend(settings(&code.collect::<Vec<_>>().join("\n")));
    }
    let documented = settings(&fs::read_to_string(root().join("docs/configuration.md")).unwrap());
    let missing: Vec<_> = read.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&read).collect();
    assert!(missing.is_empty(), "not in docs/configuration.md: {missing:?}");
    assert!(invented.is_empty(), "in docs/configuration.md only: {invented:?}");
}
