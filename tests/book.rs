//! The book in `docs/book`: its summary, its links, and the messages that it quotes. Its programs run as documentation
//! tests of the crate (`src/book.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book/src")
}

/// The names of all chapters' files.
fn chapters() -> std::io::Result<BTreeSet<String>> {
    let entries = fs::read_dir(source())?.collect::<std::io::Result<Vec<_>>>()?;
    let names = entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name != "SUMMARY.md").collect())
}

/// A text without its blocks of code, in which brackets are no links.
fn prose(text: &str) -> String {
    let outside = text.split("```").step_by(2).collect::<String>();
    outside.split('`').step_by(2).collect()
}

/// The targets of all links `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The heading of a link within a file, as mdBook and GitHub name it.
fn anchors(text: &str) -> Vec<String> {
    let headings =
        text.split("```").step_by(2).flat_map(str::lines).filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let kept = heading.trim_start_matches('#').trim().chars();
            let kept = kept.filter(|character| character.is_alphanumeric() || " -_".contains(*character));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

#[test]
fn the_summary_has_every_chapter_once_and_in_its_form() -> Outcome {
    let summary = fs::read_to_string(source().join("SUMMARY.md"))?;
    for line in summary.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let entry = line.strip_prefix("- ").unwrap_or(line);
        let is_link = entry.starts_with('[') && entry.ends_with(".md)") && links(entry).len() == 1;
        assert!(is_link, "mdBook cannot read this line of the summary: {line}");
    }
    let listed = links(&summary);
    let distinct: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(distinct.len(), listed.len(), "a chapter is listed twice: {listed:?}");
    assert_eq!(distinct, chapters()?);
    Ok(())
}

#[test]
fn every_chapter_is_tested() -> Outcome {
    let module = include_str!("../src/book.rs");
    let tested = module.split('"').skip(1).step_by(2).filter_map(|path| path.rsplit('/').next());
    assert_eq!(tested.map(str::to_owned).collect::<BTreeSet<_>>(), chapters()?);
    for chapter in chapters()? {
        let text = fs::read_to_string(source().join(&chapter))?;
        for language in text.split("```").skip(1).step_by(2).filter_map(|block| block.lines().next()) {
            let known = ["rust", "rust,no_run", "text", "sh", "c", "python"].contains(&language);
            assert!(known, "{chapter}: a block is marked {language:?}");
        }
    }
    Ok(())
}

#[test]
fn every_link_leads_to_a_file() -> Outcome {
    for chapter in chapters()? {
        let text = fs::read_to_string(source().join(&chapter))?;
        for link in links(&text).into_iter().filter(|link| !link.starts_with("https://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let path = source().join(if path.is_empty() { &chapter } else { path });
            assert!(path.exists(), "{chapter} links to {link}, which does not exist");
            if !anchor.is_empty() {
                let found = anchors(&fs::read_to_string(&path)?).iter().any(|heading| heading == anchor);
                assert!(found, "{chapter} links to {link}, but there is no such heading");
            }
        }
    }
    Ok(())
}

#[test]
fn quoted_messages_of_the_macro_are_its_messages() -> Outcome {
    let mut messages = String::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "stderr") {
            messages += &fs::read_to_string(path)?;
        }
    }
    let text = fs::read_to_string(source().join("mistakes.md"))?;
    let quoted: Vec<&str> =
        text.split("```text\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(quoted.len() >= 4, "{quoted:?}");
    for message in quoted {
        assert!(messages.contains(message), "no test in tests/ui has this message:\n{message}");
    }
    Ok(())
}
