//! A pool of threads, including the caller's, that run tasks together.

mod pool;
mod system;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub(super) use pool::Threads;
