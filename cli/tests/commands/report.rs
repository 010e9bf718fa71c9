//! `windlass report`.

use roxmltree::{Document, Node, ParsingOptions};

use super::{Fixture, NETWORK};

/// A page, which is well-formed XML and loads nothing.
fn with_page(fixture: &Fixture, arguments: &str, look: impl FnOnce(&Document<'_>)) {
    fixture.prints(&format!("report {arguments} --runs 2 -o report.html"));
    let page = std::fs::read_to_string(fixture.path().join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document =
        Document::parse_with_options(&page, options).unwrap_or_else(|error| panic!("{error}\n{page}"));
    for node in document.descendants() {
        assert!(!["script", "link", "img", "iframe"].contains(&node.tag_name().name()), "{node:?}");
        assert!(!node.attributes().any(|own| ["src", "href"].contains(&own.name())), "{node:?}");
    }
    look(&document);
}

fn section<'a>(document: &'a Document<'_>, id: &str) -> Node<'a, 'a> {
    let is_wanted = |node: &Node<'_, '_>| node.attribute("id") == Some(id);
    document.descendants().find(is_wanted).unwrap_or_else(|| panic!("no {id}"))
}

/// The texts of the elements of a name.
fn texts(section: Node<'_, '_>, element: &str) -> Vec<String> {
    let own = section.descendants().filter(|node| node.tag_name().name() == element);
    own.map(|node| node.descendants().filter_map(|inner| inner.is_text().then(|| inner.text())?).collect())
        .collect()
}

/// The names of kernels and their shares of the time, from the table.
fn rows(document: &Document<'_>) -> Vec<(String, f64)> {
    let cells = texts(section(document, "kernels"), "td");
    let share = |cell: &str| cell.trim_end_matches(" %").parse().unwrap();
    cells.chunks(7).map(|row| (row[0].clone(), share(&row[2]))).collect()
}

#[test]
fn a_page_has_every_kernel_chart_and_text() {
    let fixture = Fixture::new();
    with_page(&fixture, "tagger.graph --batch 2 --size T=40 --threads 1", |document| {
        let rows = rows(document);
        let named = |name: &str| rows.iter().any(|(own, _)| own == name);
        assert!(named("gather") && named("linear"), "{rows:?}");
        assert!((rows.iter().map(|(_, share)| share).sum::<f64>() - 100.0).abs() < 1.0, "{rows:?}");
        let figures = texts(document.root_element(), "dd");
        assert!(figures.contains(&"N\u{a0}=\u{a0}2, T\u{a0}=\u{a0}40".to_owned()), "{figures:?}");

        // The product is on the roofline, the look-up computes nothing.
        let points = texts(section(document, "roofline"), "circle");
        assert!(points.len() == 1 && points[0].starts_with("linear\n"), "{points:?}");
        assert!(points[0].contains("of the roofline"), "{points:?}");
        // The embedded tokens live from the one to the other: 2·40·5 numbers.
        let buffers = texts(section(document, "memory"), "rect");
        assert_eq!(buffers.len(), 1, "{buffers:?}");
        assert!(
            buffers[0].contains("1.56\u{a0}KiB\nfrom kernel 0, gather\nto kernel 1, linear"),
            "{buffers:?}"
        );

        let details = texts(section(document, "details"), "pre").join("\n");
        for expected in ["plan tagger {", "graph tagger {", "GFLOP/s", "threads: 1"] {
            assert!(details.contains(expected), "{expected}: {details}");
        }
        let drawn = texts(section(document, "layers"), "text");
        assert!(drawn.iter().any(|text| text == "tokens"), "{drawn:?}");
    });
}

#[test]
fn a_training_step_is_reported() {
    let fixture = Fixture::new();
    with_page(&fixture, "tagger.graph --train adam --threads 1", |document| {
        let rows = rows(document);
        for expected in ["loss", "adam"] {
            assert!(rows.iter().any(|(name, _)| name.contains(expected)), "{expected}: {rows:?}");
        }
        assert!(texts(section(document, "details"), "pre").join("\n").contains("Adam"));
    });
    with_page(&fixture, "tagger.graph --train sgd --loss ctc --threads 1", |document| {
        let rows = rows(document);
        assert!(rows.iter().any(|(name, _)| name.contains("ctc")), "{rows:?}");
    });
}

#[test]
fn names_are_escaped() {
    let fixture = Fixture::new();
    let awkward = NETWORK
        .replace("%y = linear(%f, %w)", r#"%y = linear(%f, %w) @"</pre><script>&\u0001""#)
        .replace("graph tagger", r#"graph "</title><b>""#);
    std::fs::write(fixture.path().join("awkward.graph"), awkward).unwrap();
    with_page(&fixture, "awkward.graph --threads 1", |document| {
        let rows = rows(document);
        assert!(rows.iter().any(|(name, _)| name.contains("</pre><script>&")), "{rows:?}");
        assert_eq!(texts(document.root_element(), "h1"), ["</title><b>"]);
    });
}

#[test]
fn mistakes_in_reports_are_explained() {
    let fixture = Fixture::new();
    fixture.refuses("report tagger.graph -o absent/report.html", "could not write absent/report.html");
    fixture.refuses("report absent.graph -o report.html", "could not read absent.graph");
    fixture.refuses("report tagger.graph", "--output");
    fixture.refuses("report tagger.graph -o report.html --runs 0", "--runs");
    fixture.refuses("report tagger.graph -o report.html --size S=2", "no input of `tagger` has the size S");
}
