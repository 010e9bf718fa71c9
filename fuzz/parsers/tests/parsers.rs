//! A short campaign for every target, and all files that have ever failed.

use std::path::Path;

use windlass_fuzz_parsers::FuzzTarget;
use windlass_fuzz_parsers::campaign::{Campaign, corpus};
use windlass_fuzz_parsers::judge::judge;

#[test]
fn what_failed_once_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = corpus(&directory).unwrap();
    assert!(!files.is_empty());
    for (target, path) in files {
        let input = std::fs::read(&path).unwrap();
        judge(target, &input, true).unwrap_or_else(|reason| panic!("{}: {reason}", path.display()));
    }
}

#[test]
fn mutated_files_are_read_or_refused() {
    for target in FuzzTarget::ALL {
        let campaign = Campaign { target, inputs: 2_500 * target.share(), seed: 7, trace: None };
        let report = campaign.run().unwrap();
        let failures: Vec<String> = report
            .failures
            .iter()
            .map(|failure| format!("{}: {:?}", failure.reason, String::from_utf8_lossy(&failure.input)))
            .collect();
        assert!(failures.is_empty(), "{target:?}: {failures:#?}");
        // Neither all rejected nor all accepted, otherwise mutations would be useless.
        assert!(report.accepted > 0 && report.accepted < report.inputs, "{target:?}: {report:?}");
    }
}
