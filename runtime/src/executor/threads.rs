//! Threads that wait side by side for work, the caller's own among them. What they work on does not live here.

mod pool;
mod system;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub(super) use pool::Threads;
