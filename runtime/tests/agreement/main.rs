//! Compiled programs held against the interpreter.

mod check;
mod layers;
