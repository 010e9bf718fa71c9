//! Ctrl-C during a fit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// The fits that Ctrl-C ends.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// Whether Ctrl-C was pressed since the first of them began.
static PRESSED: AtomicBool = AtomicBool::new(false);

/// Whether the handler is set, which is possible once in a process.
static IS_SET: Mutex<bool> = Mutex::new(false);

/// The exit code of programs that Ctrl-C ends: 128 and the number of the signal.
const INTERRUPTED: i32 = 130;

/// While it exists, Ctrl-C is noted instead of ending the program.
#[derive(Debug)]
pub(super) struct Interrupt(());

impl Interrupt {
    /// Notes Ctrl-C from now on.
    pub(super) fn listen() -> Result<Self, Error> {
        let mut is_set = IS_SET.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_set {
            ctrlc::set_handler(handle).map_err(|reason| {
                let expected = "left out in a program with a handler of its own: end the fit by the callback";
                Error::setting("stop_on_ctrl_c", format!("not possible ({reason})"), expected)
            })?;
            *is_set = true;
        }
        if ACTIVE.fetch_add(1, Ordering::SeqCst) == 0 {
            PRESSED.store(false, Ordering::SeqCst);
        }
        Ok(Interrupt(()))
    }

    /// Whether Ctrl-C was pressed.
    pub(super) fn is_pressed(&self) -> bool {
        PRESSED.load(Ordering::SeqCst)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        ACTIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends the program, unless a fit is running that has not been told yet.
fn handle() {
    if ACTIVE.load(Ordering::SeqCst) == 0 || PRESSED.swap(true, Ordering::SeqCst) {
        std::process::exit(INTERRUPTED);
    }
}
