//! Writes a program's functions for `perf`, on request: lines of address, size and name in `/tmp/perf-<process>.map`,
//! where `perf report` looks for code that is not in a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// The address and name of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) address: usize,
    pub(super) bytes: usize,
    pub(super) name: String,
}

/// Appends the functions of a network's program to this process's map. Dropped programs leave their names there; of
/// several at one address, `perf` uses the last. A failed write is reported on the standard error and does not stop the
/// compilation.
pub(super) fn write(network: &str, symbols: &[Symbol]) {
    let path = PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()));
    let text = lines(network, symbols);
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = written {
        // Ignores a closed standard error.
        let _ = writeln!(
            std::io::stderr(),
            "windlass: warning: cannot write the function names for perf to {}: {error}",
            path.display()
        );
    }
}

fn lines(network: &str, symbols: &[Symbol]) -> String {
    let line = |Symbol { address, bytes, name }: &Symbol| format!("{address:x} {bytes:x} {network}:{name}\n");
    symbols.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{Symbol, lines};

    #[test]
    fn a_line_has_address_and_size_in_hexadecimal_and_the_name() {
        let symbols = [
            Symbol { address: 0x7f00_1000, bytes: 320, name: "run0:c1.conv".to_owned() },
            Symbol { address: 0x7f00_2000, bytes: 64, name: "tile0:8x48".to_owned() },
        ];
        assert_eq!(
            lines("LeNet", &symbols),
            "7f001000 140 LeNet:run0:c1.conv\n7f002000 40 LeNet:tile0:8x48\n"
        );
    }
}
