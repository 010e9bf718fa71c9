//! The runtime of Windlass: what a program needs to run and train networks declared with `network!`.

pub mod network;
